import { streamErrors } from "../errors/stream-errors.ts";
import { isCprError } from "../errors.ts";
import { type BlockChecksums, chunkSize, damagedChunk } from "./chunk-checksum.ts";
import { readConfiguration, type StreamConfiguration } from "./configuration-section.ts";
import { crc32 } from "./crc32.ts";
import {
  type CheckpointFacts,
  type DeviceSection,
  parseStreamDescription,
  type StreamDescription,
  stateSize,
} from "./description-section.ts";
import {
  isStreamName,
  ramSectionName,
  ramSectionVersion,
  sectionType,
  streamMagic,
  streamVersion,
  switchoverStart,
} from "./format.ts";
import { layoutFor, type RamBlockEntry, RamSectionReader, type RamVisitor } from "./ram-section.ts";
import { sectionChecksum } from "./section-checksum.ts";
import { type ReadBytes, StreamReader } from "./stream-reader.ts";
import { checkChecksum, readTrailer, type Trailer, trailerLength } from "./trailer.ts";

/** Told of the parts of a stream in their order, so that it can refuse them early. */
export interface CheckpointVisitor extends RamVisitor {
  configuration(configuration: StreamConfiguration): void;
}

/** What stands in front of the device states. */
export interface CheckpointHead {
  readonly configuration: StreamConfiguration;
  readonly blocks: readonly RamBlockEntry[];
  /** Pages that the stream has of each block; with mapped-ram, the bitmaps tell. */
  readonly pages: readonly number[];
  /** Checksums of the chunks of each block, by the pages that were read. */
  readonly chunkChecksums: readonly BlockChecksums[];
  /** CRC-32 of the head. */
  readonly checksum: number;
  /** Its length in bytes. */
  readonly length: number;
}

/** A checkpoint that was read to its end, whole and undamaged. */
export interface Checkpoint {
  readonly head: CheckpointHead;
  readonly sections: readonly DeviceSection[];
  readonly facts: CheckpointFacts;
  /** Its length in bytes, without what a transport may have in front of it. */
  readonly length: number;
}

/** The most that device states and vmdescription may take: no machine has so much. */
const tailLimit = 256 * 1024 * 1024;

/**
 * Reads a checkpoint to its end and checks framing, vmdescription and checksum.
 *
 * A visitor may throw; the error is kept back until the checksum is known to be right, so that a damaged stream is
 * called damaged and not whatever its bytes happen to mean.
 *
 * @throws {CprError} ERR_CPR_STREAM_…, or what the visitor threw.
 */
export async function readCheckpoint(read: ReadBytes, visitor: CheckpointVisitor): Promise<Checkpoint> {
  const reader = new StreamReader(read);
  await readMagic(reader);
  const patient = new PatientVisitor(visitor);
  const capabilities: string[] = [];
  let head: CheckpointHead;
  try {
    head = await readHead(reader, patient, capabilities);
  } catch (error) {
    if (isCprError(error) && error.category === "checkpoint") {
      if (layoutFor(capabilities).mapped) {
        // The checksum leaves out the pages, and where they are can no longer be told.
        patient.complain();
        throw error;
      }
      const last = await reader.drain(trailerLength);
      checkChecksum(readTrailer(last, reader.position), reader.checksum());
      // What is unknown may also make the rest unreadable.
      patient.complain();
    }
    throw error;
  }
  const tail = await reader.rest(tailLimit);
  const end = tail.length - trailerLength;
  if (end < 0) {
    throw streamErrors.ERR_CPR_STREAM_TRUNCATED({ position: head.length + tail.length });
  }
  const trailer = readTrailer(tail.subarray(end), head.length + end);
  let checkpoint: Checkpoint;
  try {
    checkpoint = readTail(head, tail.subarray(0, end), trailer);
  } catch (error) {
    if (!isCprError(error) || error.code !== "ERR_CPR_STREAM_DAMAGED") {
      checkChecksum(trailer, crc32(tail.subarray(0, end), head.checksum));
    }
    throw error;
  }
  checkChecksum(trailer, crc32(tail.subarray(0, end), head.checksum));
  patient.complain();
  return checkpoint;
}

/** Reads what follows the head up to the trailer, and compares the checksums of sections and chunks. */
function readTail(head: CheckpointHead, tail: Uint8Array, { descriptionLength }: Trailer): Checkpoint {
  const descriptionStart = tail.length - descriptionLength;
  const fail = (position: number, problem: string) =>
    streamErrors.ERR_CPR_STREAM_FORMAT({ position: head.length + position, problem });
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  if (
    descriptionStart < 6 ||
    tail[descriptionStart - 5] !== sectionType.description ||
    view.getUint32(descriptionStart - 4) !== descriptionLength
  ) {
    throw streamErrors.ERR_CPR_STREAM_DAMAGED({ problem: "its last line does not lead to the vmdescription" });
  }
  const description = parseStreamDescription(tail.subarray(descriptionStart), head.length + descriptionStart);
  const sections = readSections(view, descriptionStart - 5, description, fail);
  const { facts, sectionChecksums } = description;
  if (sectionChecksums !== undefined && sectionChecksums.length !== sections.length) {
    throw fail(descriptionStart, "the vmdescription has not one checksum for each section");
  }
  checkSections(sections, sectionChecksums);
  for (const { id, size, mapped } of head.blocks) {
    const block = facts.ram.find((each) => each.id === id);
    if (block !== undefined && block.size !== size) {
      throw fail(descriptionStart, `the vmdescription says ${block.size} bytes of RAM block '${id}', not ${size}`);
    }
    if (block?.inPlace === false && mapped !== undefined && block.chunkChecksums === undefined) {
      throw fail(descriptionStart, `the vmdescription lacks the checksums of RAM block '${id}'`);
    }
  }
  checkChunks(head, facts);
  return { head, sections, facts, length: head.length + tail.length };
}

function checkSections(sections: readonly DeviceSection[], checksums: readonly number[] | undefined): void {
  for (const [place, section] of sections.entries()) {
    if (checksums !== undefined && checksums[place] !== sectionChecksum(section, place)) {
      throw streamErrors.ERR_CPR_STREAM_DAMAGED({
        problem: `section '${section.id}' ${section.instance} is not what was written`,
      });
    }
  }
}

/** Compares the pages that were read with what was written. Those of mapped-ram are looked at later. */
function checkChunks({ blocks, chunkChecksums }: CheckpointHead, { ram }: CheckpointFacts): void {
  for (const [index, { id, mapped }] of blocks.entries()) {
    const expected = ram.find((block) => block.id === id)?.chunkChecksums;
    if (mapped === undefined) {
      expected?.forEach((checksum, chunk) => {
        if (checksum !== chunkChecksums[index]?.of(chunk)) {
          throw damagedChunk(id, chunk * chunkSize);
        }
      });
    }
  }
}

/**
 * Reads no more than what the stream says about the machine.
 *
 * @throws {CprError} ERR_CPR_STREAM_…
 */
export async function readStreamConfiguration(read: ReadBytes): Promise<StreamConfiguration> {
  const reader = new StreamReader(read);
  await readMagic(reader);
  return readConfiguration(reader);
}

/**
 * Reads the head of a checkpoint once more and hands out its pages.
 *
 * @throws {CprError} ERR_CPR_STREAM_DAMAGED if it is not the head that was read before; pages have been handed out then.
 */
export async function readPages(read: ReadBytes, expected: CheckpointHead, visitor: RamVisitor): Promise<void> {
  const reader = new StreamReader(read);
  await readMagic(reader);
  const { checksum } = await readHead(reader, { configuration: () => undefined, ...bind(visitor) });
  if (checksum !== expected.checksum) {
    throw streamErrors.ERR_CPR_STREAM_DAMAGED({ problem: "it changed while it was being loaded" });
  }
}

/** Passes on to a visitor, until it finds something wrong with the checkpoint: that is told when the time has come. */
class PatientVisitor implements CheckpointVisitor {
  readonly #visitor: CheckpointVisitor;
  #complaint: unknown;

  constructor(visitor: CheckpointVisitor) {
    this.#visitor = visitor;
  }

  /** @throws what the visitor threw. */
  complain(): void {
    if (this.#complaint !== undefined) {
      throw this.#complaint;
    }
  }

  configuration(configuration: StreamConfiguration): void {
    this.#tell(() => this.#visitor.configuration(configuration));
  }

  blocks(blocks: readonly RamBlockEntry[]): void {
    this.#tell(() => this.#visitor.blocks(blocks));
  }

  page(block: number, offset: number, contents: Uint8Array | undefined): void {
    if (this.#complaint === undefined) {
      this.#tell(() => this.#visitor.page(block, offset, contents));
    }
  }

  #tell(visit: () => void): void {
    if (this.#complaint !== undefined) {
      return;
    }
    try {
      visit();
    } catch (error) {
      if (!isCprError(error) || error.category !== "checkpoint") {
        throw error;
      }
      this.#complaint = error;
    }
  }
}

function bind(visitor: RamVisitor): RamVisitor {
  return {
    blocks: (blocks) => visitor.blocks(blocks),
    page: (block, offset, contents) => visitor.page(block, offset, contents),
  };
}

async function readMagic(reader: StreamReader): Promise<void> {
  await reader.need(8);
  const magic = reader.u32();
  if (magic !== streamMagic) {
    throw streamErrors.ERR_CPR_STREAM_MAGIC({ magic, expected: streamMagic });
  }
  const version = reader.u32();
  if (version !== streamVersion) {
    throw streamErrors.ERR_CPR_STREAM_VERSION({ version, expected: streamVersion });
  }
}

/** Reads up to the first device state. */
async function readHead(
  reader: StreamReader,
  visitor: CheckpointVisitor,
  capabilities?: string[],
): Promise<CheckpointHead> {
  const configuration = await readConfiguration(reader, capabilities);
  visitor.configuration(configuration);
  const ram = new RamSectionReader(reader, visitor, layoutFor(configuration.capabilities));
  let ramId: number | undefined;
  for (;;) {
    await reader.need(1);
    const type = reader.peek();
    if (type === sectionType.full || type === sectionType.end) {
      if (ram.blocks === undefined || ramId === undefined) {
        throw reader.error("there is no RAM section");
      }
      const { blocks, pages, checksums } = ram;
      const length = reader.position;
      return { configuration, blocks, pages, chunkChecksums: checksums, checksum: reader.checksum(), length };
    }
    reader.u8();
    if (type === sectionType.start && ramId === undefined) {
      ramId = await readRamStart(reader);
    } else if (type === sectionType.part || type === sectionType.last) {
      await reader.need(4);
      const id = reader.u32();
      if (id !== ramId) {
        throw reader.error(`Unknown section ${id}`);
      }
    } else if (type === sectionType.command) {
      await reader.need(4);
      const command = reader.u16();
      const length = reader.u16();
      if (command !== switchoverStart || length !== 0) {
        throw reader.error(`unknown command ${command} of ${length} bytes`);
      }
      continue;
    } else {
      throw reader.error(`Unknown section type ${type}`);
    }
    await ram.readRecords();
    await readFooter(reader, ramId);
  }
}

async function readRamStart(reader: StreamReader): Promise<number> {
  await reader.need(4);
  const id = reader.u32();
  const name = await reader.name();
  await reader.need(8);
  const instance = reader.u32();
  const version = reader.u32();
  if (name !== ramSectionName || instance !== 0) {
    throw streamErrors.ERR_CPR_STREAM_SECTION_UNKNOWN({ device: name, instance });
  }
  if (version > ramSectionVersion) {
    throw streamErrors.ERR_CPR_STREAM_NEWER({ what: "the RAM section", version, supported: ramSectionVersion });
  }
  if (version !== ramSectionVersion) {
    throw reader.error(`unsupported version ${version} for 'ram' v${ramSectionVersion}`);
  }
  return id;
}

async function readFooter(reader: StreamReader, id: number): Promise<void> {
  await reader.need(5);
  if (reader.u8() !== sectionType.footer) {
    throw reader.error(`Missing section footer for ${ramSectionName}`);
  }
  const read = reader.u32();
  if (read !== id) {
    throw reader.error(
      `Mismatched section id in footer for ${ramSectionName} - read 0x${read.toString(16)} expected 0x${id.toString(16)}`,
    );
  }
}

/** Cuts the device states apart; how long each is, the vmdescription tells. */
function readSections(
  view: DataView,
  end: number,
  { devices }: StreamDescription,
  fail: (position: number, problem: string) => Error,
): readonly DeviceSection[] {
  const described = new Map(devices.map((device) => [`${device.name} ${device.instance_id}`, device]));
  if (described.size !== devices.length) {
    throw fail(end, "the vmdescription lists a device twice");
  }
  const sections: DeviceSection[] = [];
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  let position = 0;
  const take = (length: number): number => {
    if (position + length > end) {
      throw fail(position, "a section is longer than the stream");
    }
    position += length;
    return position - length;
  };
  for (;;) {
    const type = bytes[take(1)];
    if (type === sectionType.end) {
      break;
    }
    if (type !== sectionType.full) {
      throw fail(position - 1, `Unknown section type ${type}`);
    }
    const sectionId = view.getUint32(take(4));
    const nameLength = bytes[take(1)] as number;
    const nameAt = take(nameLength);
    const id = Buffer.from(bytes.buffer, bytes.byteOffset + nameAt, nameLength).toString();
    if (!isStreamName(id)) {
      throw fail(nameAt, `a name has ${nameLength} bytes`);
    }
    const instance = view.getUint32(take(4));
    const version = view.getUint32(take(4));
    const device = described.get(`${id} ${instance}`);
    if (device === undefined) {
      throw fail(position, `the vmdescription lacks section '${id}' ${instance}`);
    }
    described.delete(`${id} ${instance}`);
    const size = stateSize(device);
    const dataAt = take(size);
    if (bytes[take(1)] !== sectionType.footer) {
      throw fail(position - 1, `Missing section footer for ${id}`);
    }
    const footer = view.getUint32(take(4));
    if (footer !== sectionId) {
      throw fail(
        position - 4,
        `Mismatched section id in footer for ${id} - read 0x${footer.toString(16)} expected 0x${sectionId.toString(16)}`,
      );
    }
    const { vmsd_name, version: describedVersion, fields } = device;
    sections.push({
      id,
      instance,
      version,
      data: bytes.slice(dataAt, dataAt + size),
      description: { vmsd_name, version: describedVersion, fields },
    });
  }
  if (position !== end) {
    throw fail(position, "there are bytes behind the last section");
  }
  const [absent] = described.keys();
  if (absent !== undefined) {
    throw fail(position, `the vmdescription lists section '${absent}', which is not there`);
  }
  return sections;
}
