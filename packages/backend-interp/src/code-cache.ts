import type { CodeHolder, CodePages } from "./code-pages.ts";
import { type CodeBytes, Decoder, maximumBlockSize, maximumInstructions, maximumLength } from "./decode/decoder.ts";
import {
  arenaAt,
  blockField,
  blockHeaderSize,
  coreMemorySize,
  jumpCacheAt,
  jumpCacheEntries,
  jumpCacheEntrySize,
  jumpKeyAt,
  ripSlot,
  segmentField,
  segmentSize,
  segmentsAt,
} from "./layout.ts";
import { field, operationFlag, operationKind, operationSize } from "./operations.ts";
import type { CodeCache, ProcessorCore } from "./processor-interface.ts";

const pageSize = 4096;
/** Where blocks of single instructions go, in turn: the one that executes may still be read while the next is decoded. */
const scratchSize = 1024;
const scratchBlocks = 2;
const firstBlockAt = arenaAt + scratchSize * scratchBlocks;
const stale = operationKind("stale");
const codeSegmentAt = segmentsAt + segmentSize;
const generalProtection = 13;

/** What the block cache needs of its processor. */
type BlockCacheOwner = Pick<ProcessorCore, "core" | "ram" | "linear" | "mode" | "raise">;

/** A block whose one instruction reaches into the next page. */
interface Straddler {
  readonly block: number;
  readonly key: number;
  readonly firstPage: number;
  readonly secondPage: number;
}

/** The decoded code of a RAM page. */
interface PageCode {
  /** Blocks by their start in the page and mode, see {@link keyOf}. */
  readonly blocks: Map<number, number>;
  /** All blocks that begin in the page, also those that others took the place of: they must become stale as well. */
  readonly all: number[];
  /** Blocks that end in this page but begin in another one. */
  readonly straddlers: Straddler[];
}

/** Start of a block in its page, and its mode. */
const keyOf = (inPage: number, mode: number): number => (inPage << 8) | mode;

/**
 * The decoded blocks of one vCPU, in its core memory. A block is known by the RAM page and the place in it that its code
 * is at, and by the mode it was decoded for: so it serves all linear addresses that the page is mapped at. Outside 64-bit
 * mode it is known by its RIP too, because jumps there wrap around.
 *
 * - Blocks are allocated one after the other until the arena is full; then all are forgotten at once.
 * - A store to a page with blocks, by any vCPU, makes them stale: each instruction's first operation becomes `stale`, which
 *   looks the code up again. So even the block that executes notices.
 * - An instruction that reaches into the next page is a block of its own, found again only while the same two pages follow
 *   each other; no jump is linked to it.
 * - Code outside RAM is decoded each time, one instruction at a time.
 */
export class BlockCache implements CodeCache, CodeHolder {
  readonly #processor: BlockCacheOwner;
  readonly #codePages: CodePages;
  readonly #decoder: Decoder;
  readonly #u32: Uint32Array;
  readonly #u16: Uint16Array;
  readonly #u8: Uint8Array;
  readonly #pages = new Map<number, PageCode>();
  /** RIP of blocks decoded outside 64-bit mode. */
  readonly #rips = new Map<number, number>();
  readonly #straddlers = new Map<number, Straddler>();
  readonly #window = new Uint8Array(maximumLength);
  /** Where the next block goes. */
  #next = firstBlockAt;
  #scratch = 0;
  /** RAM page that the last {@link #decodeWindow} went on in, or -1. */
  #secondPage = -1;

  constructor(processor: BlockCacheOwner, codePages: CodePages) {
    this.#processor = processor;
    this.#codePages = codePages;
    this.#decoder = new Decoder(processor.core);
    this.#u32 = processor.core.u32;
    this.#u16 = processor.core.u16;
    this.#u8 = processor.core.u8;
    codePages.join(this);
  }

  resolve(linkAt: number): number {
    const { mode, linear } = this.#processor;
    const address = this.#fetchAddress();
    const offset = linear.translateFetch(address);
    if (offset < 0) return this.#decodeSingle(address, offset);
    const inPage = offset % pageSize;
    const page = (offset - inPage) / pageSize;
    const key = keyOf(inPage, mode.number);
    let block = this.#pages.get(page)?.blocks.get(key) ?? 0;
    if (block !== 0 && !this.#isStillRight(block, inPage, address)) block = 0;
    if (block === 0) {
      if (this.#next + maximumBlockSize > coreMemorySize) {
        this.flush();
        linkAt = 0;
      }
      block = this.#decode(address, offset, page, key);
      // The instruction's second half is not RAM.
      if (block === 0) return this.#decodeSingle(address, offset);
    }
    this.#enterJumpCache(block);
    if (linkAt !== 0 && this.#mayLink(linkAt) && !this.#straddlers.has(block)) this.#u32[linkAt >> 2] = block;
    return block;
  }

  resolveSingle(): number {
    const address = this.#fetchAddress();
    return this.#decodeSingle(address, this.#processor.linear.translateFetch(address));
  }

  protectPage(ramPage: number): void {
    this.#processor.linear.protectCode(ramPage);
  }

  invalidatePage(ramPage: number): void {
    const code = this.#pages.get(ramPage);
    if (code === undefined) return;
    for (const block of code.all) this.#makeStale(block);
    for (const { block, key, firstPage } of code.straddlers) {
      this.#makeStale(block);
      const { blocks } = this.#pages.get(firstPage) ?? code;
      if (blocks.get(key) === block) blocks.delete(key);
    }
    this.#pages.delete(ramPage);
  }

  flush(): void {
    this.#pages.clear();
    this.#rips.clear();
    this.#straddlers.clear();
    this.#next = firstBlockAt;
    this.#u32.fill(0, jumpCacheAt >> 2, (jumpCacheAt + jumpCacheEntries * jumpCacheEntrySize) >> 2);
  }

  /** Linear address of the instruction at `ripSlot`. Raises #GP(0) beyond the limit of CS. */
  #fetchAddress(): bigint {
    const { core, mode } = this.#processor;
    if (mode.long) return core.u64[ripSlot >> 3] as bigint;
    const rip = this.#u32[ripSlot >> 2] as number;
    if (mode.flat) return BigInt(rip);
    const limit = this.#u32[(codeSegmentAt + segmentField.limit) >> 2] as number;
    if (rip > limit) this.#processor.raise(generalProtection, 0);
    return BigInt(((this.#u32[(codeSegmentAt + segmentField.base) >> 2] as number) + rip) >>> 0);
  }

  /** Whether a block that was found by its first page and mode is what would be decoded now. */
  #isStillRight(block: number, inPage: number, address: bigint): boolean {
    if (!this.#processor.mode.long && this.#rips.get(block) !== this.#u32[ripSlot >> 2]) return false;
    const straddler = this.#straddlers.get(block);
    if (straddler === undefined) return true;
    const second = this.#processor.linear.translateFetch(this.#nextPage(address, inPage));
    return second === straddler.secondPage * pageSize;
  }

  /** Decodes the block at a RAM offset and keeps it. 0: its one instruction goes on outside RAM. */
  #decode(address: bigint, offset: number, page: number, key: number): number {
    const { mode, ram } = this.#processor;
    const block = this.#next;
    const inPage = offset % pageSize;
    const code: CodeBytes = {
      bytes: ram.u8,
      origin: offset,
      length: pageSize - inPage,
      rip: this.#u32[ripSlot >> 2] as number,
      pageOffset: inPage,
    };
    let end = this.#decoder.decodeBlock(mode, code, block, maximumInstructions);
    let secondPage = -1;
    if (end === 0) {
      end = this.#decodeWindow(address, offset, block, inPage);
      secondPage = this.#secondPage;
      if (secondPage < 0) return 0;
    }
    this.#next = end;
    this.#u32[(block + blockField.page) >> 2] = page;
    if (!mode.long) this.#rips.set(block, code.rip);
    const pageCode = this.#codeOf(page);
    pageCode.blocks.set(key, block);
    pageCode.all.push(block);
    if (secondPage >= 0) {
      const straddler: Straddler = { block, key, firstPage: page, secondPage };
      this.#straddlers.set(block, straddler);
      this.#codeOf(secondPage).straddlers.push(straddler);
    }
    return block;
  }

  /** The code of a page; stores to a page that had none are seen from then on. */
  #codeOf(page: number): PageCode {
    let code = this.#pages.get(page);
    if (code === undefined) {
      code = { blocks: new Map(), all: [], straddlers: [] };
      this.#pages.set(page, code);
      this.#codePages.add(page);
    }
    return code;
  }

  /** A block of the one instruction at a linear address, in the scratch area. `offset` is its RAM offset, or -1. */
  #decodeSingle(address: bigint, offset: number): number {
    this.#scratch = (this.#scratch + 1) % scratchBlocks;
    const block = arenaAt + this.#scratch * scratchSize;
    this.#decodeWindow(address, offset, block, -1);
    this.#u32[(block + blockField.page) >> 2] = 0xffff_ffff;
    return block;
  }

  /**
   * Decodes the one instruction at a linear address from a copy of its bytes. The next page is touched only if the
   * instruction reaches into it: then a #PF has that page's first byte in CR2. Returns the end of the block.
   */
  #decodeWindow(address: bigint, offset: number, block: number, pageOffset: number): number {
    const { mode, linear } = this.#processor;
    const inPage = Number(address & 0xfffn);
    const first = Math.min(maximumLength, pageSize - inPage);
    this.#secondPage = -1;
    this.#copyCode(address, offset, 0, first);
    const code = { bytes: this.#window, origin: 0, length: first, rip: this.#u32[ripSlot >> 2] as number, pageOffset };
    const end = this.#decoder.decodeBlock(mode, code, block, 1);
    if (end !== 0) return end;
    const next = this.#nextPage(address, inPage);
    const second = linear.translateFetch(next);
    if (second >= 0 && offset >= 0) this.#secondPage = second / pageSize;
    this.#copyCode(next, second, first, maximumLength);
    return this.#decoder.decodeBlock(mode, { ...code, length: maximumLength }, block, 1);
  }

  /** Linear address of the page after the one that `address` lies in. */
  #nextPage(address: bigint, inPage: number): bigint {
    return BigInt.asUintN(this.#processor.mode.long ? 64 : 32, address + BigInt(pageSize - inPage));
  }

  /** Fills the window from `from` to `to` with the code at a linear address (or at a RAM offset, if it is not negative). */
  #copyCode(address: bigint, offset: number, from: number, to: number): void {
    const { ram, linear } = this.#processor;
    for (let at = from; at < to; at++) {
      const distance = at - from;
      this.#window[at] =
        offset >= 0 ? (ram.u8[offset + distance] as number) : Number(linear.read(address + BigInt(distance), 1));
    }
  }

  #enterJumpCache(block: number): void {
    const { mode } = this.#processor;
    // NOTE: outside flat modes the same RIP is other code in another code segment, which the key does not tell.
    if (!mode.flat) return;
    const low = this.#u32[ripSlot >> 2] as number;
    const entry = (jumpCacheAt + ((low ^ (low >>> 13)) & (jumpCacheEntries - 1)) * jumpCacheEntrySize) >> 2;
    this.#u32[entry] = low;
    this.#u32[entry + 1] = this.#u32[(ripSlot >> 2) + 1] as number;
    this.#u32[entry + 2] = this.#u32[jumpKeyAt >> 2] as number;
    this.#u32[entry + 3] = block;
  }

  /** Whether the link at this address may be written: the decoder said that the target lies in the same page. */
  #mayLink(linkAt: number): boolean {
    // NOTE: operations are 8-aligned, so the address tells `base` (taken) from `index` (not taken).
    const taken = linkAt % 8 === field.base % 8;
    const flags = this.#u8[linkAt - (taken ? field.base : field.index) + field.flags] as number;
    return (flags & (taken ? operationFlag.linkable : operationFlag.linkableNotTaken)) !== 0;
  }

  #makeStale(block: number): void {
    const operations = this.#u32[(block + blockField.operations) >> 2] as number;
    for (let index = 0, at = block + blockHeaderSize; index < operations; index++, at += operationSize) {
      // NOTE: a block of NOPs has nothing but its end, so the first operation is marked whatever it is. All else of an
      // operation stays: it may be the one that executes.
      if (index === 0 || ((this.#u8[at + field.flags] as number) & operationFlag.first) !== 0)
        this.#u16[(at + field.kind) >> 1] = stale;
    }
  }
}
