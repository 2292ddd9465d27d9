import { tlbAt, tlbEntries, tlbEntrySize, tlbField, tlbHalfSize, tlbInvalidTag } from "../layout.ts";
import type { CoreMemory } from "../processor-interface.ts";

const writeTag = tlbField.tagWrite >> 2;
const addend = tlbField.addend >> 2;
/** u32 each, in the part of an entry that WebAssembly does not look at: number of the RAM page, and flags. */
const ramPage = 6;
const flags = 7;
const entryWords = tlbEntrySize >> 2;

const globalFlag = 1;
const executableFlag = 2;

/** The software TLB, filled by page walks and read by WebAssembly; see `tlbAt` in layout.ts. */
export class TranslationBuffer {
  readonly #u32: Uint32Array;
  readonly #ramStart: number;
  /** 2 MiB frames (linear address / 2^21) from which a part of a larger page was entered. */
  readonly #largeFrames = new Set<number>();

  /** @param ramStart - where RAM begins in its memory. */
  constructor(core: CoreMemory, ramStart: number) {
    this.#u32 = core.u32;
    this.#ramStart = ramStart;
  }

  /** Index in 32-bit words of the entry that a linear address can be in. */
  #entry(low: number, user: boolean): number {
    return ((user ? tlbAt + tlbHalfSize : tlbAt) >> 2) + ((low >>> 12) & (tlbEntries - 1)) * entryWords;
  }

  /** RAM offset for a read or write, or -1 if the buffer does not know. */
  find(high: number, low: number, write: boolean, user: boolean): number {
    const u32 = this.#u32;
    const entry = this.#entry(low, user);
    const tag = write ? entry + writeTag : entry;
    return u32[tag] === (low & ~0xfff) >>> 0 && u32[tag + 1] === high
      ? (u32[entry + ramPage] as number) * 0x1000 + (low & 0xfff)
      : -1;
  }

  /** As {@link find}, for an instruction fetch. */
  findExecutable(high: number, low: number, user: boolean): number {
    const entry = this.#entry(low, user);
    return (this.#u32[entry + flags] as number) & executableFlag ? this.find(high, low, false, user) : -1;
  }

  /** Whether the entry that was just found or entered is global. */
  isGlobal(low: number, user: boolean): boolean {
    return ((this.#u32[this.#entry(low, user) + flags] as number) & globalFlag) !== 0;
  }

  /** Enters a page of RAM. `offset` is the page's RAM offset. */
  enter(
    high: number,
    low: number,
    user: boolean,
    offset: number,
    rights: {
      readonly writable: boolean;
      readonly executable: boolean;
      readonly global: boolean;
      readonly pages: number;
    },
    storable: boolean,
  ): void {
    const u32 = this.#u32;
    const entry = this.#entry(low, user);
    const page = (low & ~0xfff) >>> 0;
    u32[entry] = page;
    u32[entry + 1] = high;
    u32[entry + writeTag] = storable ? page : tlbInvalidTag;
    u32[entry + writeTag + 1] = high;
    const place = offset + this.#ramStart;
    const difference = (place >>> 0) - page;
    u32[entry + addend] = difference;
    u32[entry + addend + 1] = Math.floor(place / 0x1_0000_0000) - high - (difference < 0 ? 1 : 0);
    u32[entry + ramPage] = offset / 0x1000;
    u32[entry + flags] = (rights.global ? globalFlag : 0) | (rights.executable ? executableFlag : 0);
    if (rights.pages > 1) {
      this.#largeFrames.add(high * 0x800 + (low >>> 21));
    }
  }

  /** Empties the buffer; `keepGlobal` as a load of CR3 does. */
  flush(keepGlobal: boolean): void {
    const u32 = this.#u32;
    const end = (tlbAt + 2 * tlbHalfSize) >> 2;
    for (let entry = tlbAt >> 2; entry < end; entry += entryWords) {
      if (!keepGlobal || ((u32[entry + flags] as number) & globalFlag) === 0) {
        u32[entry] = tlbInvalidTag;
        u32[entry + writeTag] = tlbInvalidTag;
      }
    }
    if (!keepGlobal) {
      this.#largeFrames.clear();
    }
  }

  /**
   * Forgets a page (INVLPG). Of a page larger than 4 KiB any part may be in the buffer: everything in its gigabyte goes.
   *
   * @returns whether the page was a part of a larger one
   */
  invalidate(high: number, low: number): boolean {
    if (this.#largeFrames.has(high * 0x800 + (low >>> 21))) {
      this.#forget((tagHigh, tagLow) => tagHigh === high && (tagLow ^ low) >>> 30 === 0);
      return true;
    }
    for (const user of [false, true]) {
      const entry = this.#entry(low, user);
      this.#u32[entry] = tlbInvalidTag;
      this.#u32[entry + writeTag] = tlbInvalidTag;
    }
    return false;
  }

  /** Takes away the right to store to a page of RAM without being noticed. */
  protect(page: number): void {
    const u32 = this.#u32;
    const end = (tlbAt + 2 * tlbHalfSize) >> 2;
    for (let entry = tlbAt >> 2; entry < end; entry += entryWords) {
      if (u32[entry + ramPage] === page) {
        u32[entry + writeTag] = tlbInvalidTag;
      }
    }
  }

  #forget(matches: (high: number, low: number) => boolean): void {
    const u32 = this.#u32;
    const end = (tlbAt + 2 * tlbHalfSize) >> 2;
    for (let entry = tlbAt >> 2; entry < end; entry += entryWords) {
      if (u32[entry] !== tlbInvalidTag && matches(u32[entry + 1] as number, u32[entry] as number)) {
        u32[entry] = tlbInvalidTag;
        u32[entry + writeTag] = tlbInvalidTag;
      }
    }
  }
}
