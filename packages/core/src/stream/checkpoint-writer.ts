import type { CopiedPages } from "../ram-copy/ram-copy-threads.ts";
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

/** A RAM block whose pages have a place in the stream. */
export type MappedBlock = RamBlockEntry & Required<Pick<RamBlockEntry, "mapped">>;

/**
 * Writes a checkpoint, part by part, in the order of the methods. What is small is gathered and written at once by
 * {@link finish}.
 */
export class CheckpointWriter {
  readonly #writer: StreamWriter;
  readonly #configuration: StreamConfiguration;
  readonly #sections: DeviceSection[] = [];
  /** The checksums of the chunks of each block that is copied. */
  readonly #chunkChecksums = new Map<string, Uint32Array>();
  readonly #write: WriteBytes;
  /** Section ids are given in the order of the stream. */
  #nextSection = ramSectionId + 1;

  constructor(write: WriteBytes, configuration: StreamConfiguration) {
    this.#write = write;
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
    this.#beginRam();
    await writeRamBlocks(writer, blocks);
    this.#endRam();
    if (copied.length > 0) {
      writer.u8(sectionType.part);
      writer.u32(ramSectionId);
      for (const block of copied) {
        this.#chunkChecksums.set(block.id, await writeRamPages(writer, block, copying));
      }
      this.#endRam();
    }
    this.#finishRam();
  }

  /**
   * Lists all RAM blocks with room for the pages of those that do not stay in place (mapped-ram), and has the pages
   * put there.
   *
   * @param start - where in its file the stream begins.
   * @param copy - writes the pages of blocks at their positions, and tells which of them are in the stream.
   */
  async writeMappedRam(
    blocks: readonly RamBlockEntry[],
    copied: ReadonlySet<string>,
    start: number,
    copy: (blocks: readonly MappedBlock[]) => Promise<readonly CopiedPages[]>,
  ): Promise<void> {
    this.#beginRam();
    const written = await writeRamBlocks(this.#writer, blocks, { start, ids: copied });
    this.#endRam();
    const mapped = written.filter((block): block is MappedBlock => block.mapped !== undefined);
    const pages = mapped.length === 0 ? [] : await copy(mapped);
    for (const [
      index,
      {
        id,
        mapped: { bitmapPosition },
      },
    ] of mapped.entries()) {
      const { bitmap, chunkChecksums } = pages[index] as CopiedPages;
      await this.#write(bitmap, bitmapPosition);
      this.#chunkChecksums.set(id, chunkChecksums);
    }
    this.#finishRam();
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
    const ram = facts.ram.map((block) => {
      const chunkChecksums = this.#chunkChecksums.get(block.id);
      return chunkChecksums === undefined ? block : { ...block, chunkChecksums };
    });
    const description = encodeDescription(this.#configuration, this.#sections, { ...facts, ram });
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

  #beginRam(): void {
    this.#beginSection(sectionType.start, ramSectionId, ramSectionName, 0, ramSectionVersion);
  }

  #finishRam(): void {
    const writer = this.#writer;
    writer.u8(sectionType.command);
    writer.u16(switchoverStart);
    writer.u16(0);
    writer.u8(sectionType.last);
    writer.u32(ramSectionId);
    this.#endRam();
  }

  #endRam(): void {
    writeRamEnd(this.#writer);
    this.#footer(ramSectionId);
  }
}
