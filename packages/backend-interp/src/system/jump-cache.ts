import { jumpCacheAt, jumpCacheEntries, jumpCacheEntrySize, jumpKeyAt } from "../layout.ts";
import type { CoreMemory, Mode } from "../processor-interface.ts";

/** The low bits of a key are the mode's number, the others a generation. */
const generationShift = 8;
const generations = 1 << 24;

/** So many pages are remembered as fetched from before the cache starts afresh. */
const mostFetchedPages = 0x1_0000;

/**
 * What keeps the jump cache (see `jumpCacheAt` in layout.ts) true to the page tables. Entries are forgotten by changing the key
 * that they must have. User code and supervisor code have keys of their own, so that a load of CR3 does not cost a kernel
 * in global pages its entries.
 */
export class JumpCache {
  readonly #u32: Uint32Array;
  #supervisorGeneration = 1;
  #userGeneration = 1;
  /** Instructions were fetched at a supervisor level from a page that is not global. */
  #fetchedFromPrivatePage = false;
  /** Linear pages that entries may lead to. */
  readonly #fetchedPages = new Set<number>();
  /** The one of them that was added last. */
  #lastFetchedPage = -1;

  constructor(core: CoreMemory) {
    this.#u32 = core.u32;
  }

  /** Sets the current key. */
  update(mode: Mode): void {
    const generation = mode.user ? this.#userGeneration : this.#supervisorGeneration;
    this.#u32[jumpKeyAt >> 2] = (generation << generationShift) | mode.number;
  }

  /** All translations have changed, or all but those of global pages. {@link update} must follow, as after {@link invalidate}. */
  flush(keepGlobal: boolean): void {
    this.#userGeneration += 1;
    if (!keepGlobal || this.#fetchedFromPrivatePage) {
      this.#supervisorGeneration += 1;
      this.#fetchedFromPrivatePage = false;
      this.#fetchedPages.clear();
      this.#lastFetchedPage = -1;
    }
    if (this.#userGeneration >= generations || this.#supervisorGeneration >= generations) {
      this.#userGeneration = 1;
      this.#supervisorGeneration = 1;
      this.#clear(() => true);
    }
  }

  /** The translation of a page has changed. */
  invalidate(high: number, low: number): void {
    if (this.#fetchedPages.delete(high * 0x10_0000 + (low >>> 12))) {
      this.#lastFetchedPage = -1;
      const page = (low & ~0xfff) >>> 0;
      this.#clear((entryHigh, entryLow) => entryHigh === high && (entryLow & ~0xfff) >>> 0 === page);
    }
  }

  /** An instruction was fetched from a page, so that entries may lead there. */
  fetchedFrom(high: number, low: number, global: boolean, user: boolean): void {
    if (!global && !user) this.#fetchedFromPrivatePage = true;
    const page = high * 0x10_0000 + (low >>> 12);
    if (page === this.#lastFetchedPage) return;
    this.#lastFetchedPage = page;
    if (this.#fetchedPages.size > mostFetchedPages) {
      this.#fetchedPages.clear();
      this.#clear(() => true);
    }
    this.#fetchedPages.add(page);
  }

  #clear(matches: (high: number, low: number) => boolean): void {
    const u32 = this.#u32;
    const end = (jumpCacheAt + jumpCacheEntries * jumpCacheEntrySize) >> 2;
    for (let entry = jumpCacheAt >> 2; entry < end; entry += jumpCacheEntrySize >> 2) {
      if (matches(u32[entry + 1] as number, u32[entry] as number)) u32[entry + 2] = 0;
    }
  }
}
