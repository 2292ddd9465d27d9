import { setImmediate as nextTurn } from "node:timers/promises";
import { BlockChecksums } from "./chunk-checksum.ts";
import { encodeName, pageSize, ramFlag } from "./format.ts";
import { type MappedPages, readMappedPages, writeMappedPages } from "./mapped-ram.ts";
import type { StreamReader } from "./stream-reader.ts";
import type { StreamWriter } from "./stream-writer.ts";

/** A RAM block as the stream lists it. */
export interface RamBlockEntry {
  readonly id: string;
  /** In bytes, a multiple of the page size. */
  readonly size: number;
  /** Guest-physical address; in the stream with x-ignore-shared only. */
  readonly address?: number;
  /** Where its pages are; in a stream with mapped-ram only, and only if the stream has pages of it. */
  readonly mapped?: MappedPages;
}

/** What the block list has besides names and sizes; it follows from the capabilities that shape the stream. */
export interface RamLayout {
  /** x-ignore-shared: guest-physical addresses. */
  readonly withAddresses: boolean;
  /** mapped-ram: where the pages are. */
  readonly mapped: boolean;
}

/** The layout that goes with some capabilities. */
export function layoutFor(capabilities: readonly string[]): RamLayout {
  return { withAddresses: capabilities.includes("x-ignore-shared"), mapped: capabilities.includes("mapped-ram") };
}

/** A RAM block whose pages are written. */
export interface RamBlockContents {
  readonly id: string;
  /** The RAM itself. */
  readonly bytes: Uint8Array;
  /** Byte ranges outside of which everything is zero, ascending. */
  readonly dataRanges: readonly (readonly [number, number])[];
}

/** How far the copying of RAM has come. */
export interface RamProgress {
  /** Bytes looked at. */
  scanned: number;
  normalPages: number;
  zeroPages: number;
}

/** What the copying of RAM is told while it works. */
export interface RamCopying {
  readonly progress: RamProgress;
  /** Called often: throws to end the copying, waits to slow it down. */
  checkpoint(writer: StreamWriter): Promise<void> | void;
}

/** No machine has more RAM blocks: hostile input ends here. */
const greatestBlockCount = 1024;

/** After so many bytes of RAM the event loop gets its turn, so that the monitor answers. */
const turnBytes = 16 * 1024 * 1024;

/**
 * Writes the list of all RAM blocks, those that stay in place included. With mapped-ram it has room for the pages.
 *
 * @param mapped - with mapped-ram: where in the file the stream begins, and of which blocks it has pages.
 * @returns the blocks, and where the pages of each are.
 */
export async function writeRamBlocks(
  writer: StreamWriter,
  blocks: readonly RamBlockEntry[],
  mapped?: { readonly start: number; readonly ids: ReadonlySet<string> },
): Promise<readonly RamBlockEntry[]> {
  const total = blocks.reduce((sum, { size }) => sum + size, 0);
  writer.u64(total + ramFlag.blockList);
  const written: RamBlockEntry[] = [];
  for (const block of blocks) {
    const { id, size, address } = block;
    writer.name(id);
    writer.u64(size);
    if (address !== undefined) {
      writer.u64(address);
    }
    const pages =
      mapped === undefined
        ? undefined
        : await writeMappedPages(writer, mapped.ids.has(id) ? size : undefined, mapped.start);
    written.push(pages === undefined ? block : { ...block, mapped: pages });
  }
  return written;
}

export function writeRamEnd(writer: StreamWriter): void {
  writer.u64(ramFlag.end);
}

/**
 * Writes the pages of a block that are not zero, each behind its address. Zero pages are left out: the side that
 * loads clears what it does not find in the stream.
 *
 * @returns the checksums of the block's chunks.
 */
export async function writeRamPages(
  writer: StreamWriter,
  block: RamBlockContents,
  { progress, checkpoint }: RamCopying,
): Promise<Uint32Array> {
  const { bytes } = block;
  const isZero = zeroTest(bytes);
  const name = encodeName(block.id);
  const { length } = bytes;
  const checksums = new BlockChecksums(block.id);
  let named = false;
  let sinceTurn = 0;
  let scanned = 0;
  for (const [from, to] of block.dataRanges) {
    const start = Math.max(from - (from % pageSize), scanned);
    const end = Math.min(Math.ceil(to / pageSize) * pageSize, length);
    progress.scanned += Math.max(start - scanned, 0);
    progress.zeroPages += Math.max(start - scanned, 0) / pageSize;
    for (let offset = start; offset < end; offset += pageSize) {
      if (isZero(offset)) {
        progress.zeroPages += 1;
      } else {
        if (named) {
          writer.u64(offset + ramFlag.page + ramFlag.sameBlock);
        } else {
          writer.u64(offset + ramFlag.page);
          writer.u8(name.length);
          writer.bytes(name);
          named = true;
        }
        const page = bytes.subarray(offset, offset + pageSize);
        writer.bytes(page);
        checksums.add(offset, page);
        progress.normalPages += 1;
        if (writer.full) {
          await writer.flush();
          await checkpoint(writer);
        }
      }
      progress.scanned += pageSize;
      sinceTurn += pageSize;
      if (sinceTurn >= turnBytes) {
        sinceTurn = 0;
        await nextTurn();
        await checkpoint(writer);
      }
    }
    scanned = Math.max(scanned, end);
  }
  progress.scanned += length - scanned;
  progress.zeroPages += (length - scanned) / pageSize;
  return checksums.all(length);
}

/** Makes a test whether the page at an offset is zero. */
function zeroTest(bytes: Uint8Array): (offset: number) => boolean {
  const zero = Buffer.alloc(pageSize);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Few pages that are used begin with so many zeros; the native comparison is for the others.
  return (offset) =>
    (bytes[offset] as number) === 0 &&
    (bytes[offset + 1] as number) === 0 &&
    (bytes[offset + 8] as number) === 0 &&
    (bytes[offset + 512] as number) === 0 &&
    (bytes[offset + 2048] as number) === 0 &&
    buffer.compare(zero, 0, pageSize, offset, offset + pageSize) === 0;
}

/** What the records of a RAM section are handed to. */
export interface RamVisitor {
  /** The list of blocks, before any page. Throws if they are not those of this VM. */
  blocks(blocks: readonly RamBlockEntry[]): void;
  /** A page; undefined is a page of zeros. The window is valid during the call only. */
  page(block: number, offset: number, contents: Uint8Array | undefined): void;
}

/** Reads the block list that begins the RAM section, up to the first record. */
async function readRamBlocks(
  reader: StreamReader,
  total: number,
  { withAddresses, mapped }: RamLayout,
): Promise<readonly RamBlockEntry[]> {
  const blocks: RamBlockEntry[] = [];
  let left = total;
  while (left > 0) {
    const id = await reader.name();
    await reader.need(withAddresses ? 16 : 8);
    const size = reader.u64();
    if (blocks.length === greatestBlockCount) {
      throw reader.error(`more than ${greatestBlockCount} RAM blocks`);
    }
    if (size === 0 || size % pageSize !== 0 || size > left) {
      throw reader.error(`RAM block '${id}' has the impossible size of ${size} bytes`);
    }
    if (blocks.some((block) => block.id === id)) {
      throw reader.error(`RAM block '${id}' is listed twice`);
    }
    const address = withAddresses ? { address: reader.u64() } : {};
    const pages = mapped ? await readMappedPages(reader, id, size) : undefined;
    blocks.push({ id, size, ...address, ...(pages === undefined ? {} : { mapped: pages }) });
    left -= size;
  }
  return blocks;
}

/** Reads the records of RAM sections. The blocks are known from the first of them on. */
export class RamSectionReader {
  readonly #reader: StreamReader;
  readonly #visitor: RamVisitor;
  readonly #layout: RamLayout;
  blocks: readonly RamBlockEntry[] | undefined;
  /** Pages that the stream has of each block. */
  readonly pages: number[] = [];
  /** Checksums of the chunks of each block, by the pages that were read. */
  readonly checksums: BlockChecksums[] = [];
  #current = -1;

  constructor(reader: StreamReader, visitor: RamVisitor, layout: RamLayout) {
    this.#reader = reader;
    this.#visitor = visitor;
    this.#layout = layout;
  }

  /** Reads records up to the end of a section's data. */
  async readRecords(): Promise<void> {
    const reader = this.#reader;
    for (;;) {
      if (reader.available < 8) {
        await reader.need(8);
      }
      const word = reader.u64();
      const flags = word % pageSize;
      const offset = word - flags;
      if (flags === ramFlag.end && offset === 0) {
        return;
      }
      if (flags === ramFlag.blockList && this.blocks === undefined) {
        this.blocks = await readRamBlocks(reader, offset, this.#layout);
        this.pages.push(...this.blocks.map(() => 0));
        this.checksums.push(...this.blocks.map(({ id }) => new BlockChecksums(id)));
        this.#visitor.blocks(this.blocks);
        continue;
      }
      const kind = flags & ~ramFlag.sameBlock;
      if (kind !== ramFlag.page && kind !== ramFlag.zero) {
        throw reader.error(`Unknown combination of migration flags: 0x${flags.toString(16)}`);
      }
      if (this.#layout.mapped) {
        throw reader.error(`Unexpected RAM flags: ${flags}`);
      }
      const block = (flags & ramFlag.sameBlock) === 0 ? await this.#nameBlock() : this.#current;
      const entry = this.blocks?.[block];
      if (entry === undefined) {
        throw reader.error("Ack, bad migration stream!");
      }
      if (offset + pageSize > entry.size) {
        throw reader.error(`Illegal RAM offset ${offset.toString(16)}`);
      }
      this.pages[block] = (this.pages[block] as number) + 1;
      if (kind === ramFlag.zero) {
        await reader.need(1);
        const value = reader.u8();
        if (value !== 0) {
          throw reader.error(`Found a zero page with value ${value}`);
        }
        this.#visitor.page(block, offset, undefined);
      } else {
        if (reader.available < pageSize) {
          await reader.need(pageSize);
        }
        const contents = reader.window(pageSize);
        this.checksums[block]?.add(offset, contents);
        this.#visitor.page(block, offset, contents);
      }
    }
  }

  async #nameBlock(): Promise<number> {
    const id = await this.#reader.name();
    this.#current = this.blocks?.findIndex((block) => block.id === id) ?? -1;
    if (this.#current < 0) {
      throw this.#reader.error(`Can't find block ${id}`);
    }
    return this.#current;
  }
}
