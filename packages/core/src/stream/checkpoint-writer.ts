import { type StreamConfiguration, writeConfiguration } from "./configuration-section.ts";
import { type CheckpointFacts, type DeviceSection, encodeDescription } from "./description-section.ts";
import {
  ramSectionName,
  ramSectionVersion,
  sectionType,
  streamMagic,
  streamVersion,
  switchoverStart,
} from "./format.ts";
import {
  type RamBlockContents,
  type RamBlockEntry,
  type RamCopying,
  writeRamBlocks,
  writeRamEnd,
  writeRamPages,
} from "./ram-section.ts";
import { StreamWriter, type WriteBytes } from "./stream-writer.ts";
import { encodeTrailer } from "./trailer.ts";

const ramSectionId = 0;

/**
 * Writes a checkpoint, part by part, in the order of the methods. What is small is gathered and written at once by
 * {@link finish}.
 */
export class CheckpointWriter {
  readonly #writer: StreamWriter;
  readonly #configuration: StreamConfiguration;
  readonly #sections: DeviceSection[] = [];
  /** Section ids are given in the order of the stream. */
  #nextSection = ramSectionId + 1;

  constructor(write: WriteBytes, configuration: StreamConfiguration) {
    this.#writer = new StreamWriter(write);
    this.#configuration = configuration;
  }

  /** Bytes so far. */
  get position(): number {
    return this.#writer.position;
  }

  writeHeader(): void {
    this.#writer.u32(streamMagic);
    this.#writer.u32(streamVersion);
    writeConfiguration(this.#writer, this.#configuration);
  }

  /** Lists all RAM blocks and writes the pages of those that do not stay in place. */
  async writeRam(
    blocks: readonly RamBlockEntry[],
    copied: readonly RamBlockContents[],
    copying: RamCopying,
  ): Promise<void> {
    const writer = this.#writer;
    this.#beginSection(sectionType.start, ramSectionId, ramSectionName, 0, ramSectionVersion);
    writeRamBlocks(writer, blocks);
    this.#endRam();
    if (copied.length > 0) {
      writer.u8(sectionType.part);
      writer.u32(ramSectionId);
      for (const block of copied) {
        await writeRamPages(writer, block, copying);
      }
      this.#endRam();
    }
    writer.u8(sectionType.command);
    writer.u16(switchoverStart);
    writer.u16(0);
    writer.u8(sectionType.last);
    writer.u32(ramSectionId);
    this.#endRam();
  }

  writeSection(section: DeviceSection): void {
    const id = this.#nextSection++;
    this.#beginSection(sectionType.full, id, section.id, section.instance, section.version);
    this.#writer.bytes(section.data);
    this.#footer(id);
    this.#sections.push(section);
  }

  /** Writes what ends the stream, and all that has been gathered. Returns the length of the stream. */
  async finish(facts: CheckpointFacts): Promise<number> {
    const writer = this.#writer;
    writer.u8(sectionType.end);
    const description = encodeDescription(this.#configuration, this.#sections, facts);
    writer.u8(sectionType.description);
    writer.u32(description.length);
    writer.bytes(description);
    writer.bytes(
      encodeTrailer({
        checksum: writer.checksum(),
        length: writer.position,
        descriptionLength: description.length,
      }),
    );
    await writer.finish();
    return writer.position;
  }

  #beginSection(type: number, id: number, name: string, instance: number, version: number): void {
    this.#writer.u8(type);
    this.#writer.u32(id);
    this.#writer.name(name);
    this.#writer.u32(instance);
    this.#writer.u32(version);
  }

  #footer(id: number): void {
    this.#writer.u8(sectionType.footer);
    this.#writer.u32(id);
  }

  #endRam(): void {
    writeRamEnd(this.#writer);
    this.#footer(ramSectionId);
  }
}
