/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.

/**
 * The interface between the WebAssembly core (core-module.ts) and TypeScript: what the module imports (all of it from
 * module `env`), and what it exports.
 */

/** How guest RAM, memory 1, is addressed. `i64` (memory64) is needed above 4 GiB. */
export type RamAddress = "i32" | "i64";

/**
 * What the core calls.
 *
 * Before every call `currentOperationAt` holds the address of the operation that executes, so an import may throw the
 * guest fault at any place: RIP of the faulting instruction is the block RIP plus that operation's instruction offset.
 * No import may call `run` again.
 *
 * Slow accesses: the linear address (segment base added, segment checks done) is in `slowAddressSlot`. Sizes are 1, 2, 4,
 * 8 or 16 bytes. They are called whenever the TLB does not answer: TLB miss, MMIO, an access that crosses a page, a
 * store into a page without `tagWrite`, an address that is not canonical. TypeScript does the whole access: walks the
 * page tables, sets accessed and dirty bits, enters the page in the TLB if it is RAM, reads or writes.
 */
export interface CoreFunctions {
  /**
   * As {@link CodeCache.resolve}: the block at `ripSlot` in the current mode. `linkAt` is the address of a jump's link field,
   * or 0. `currentOperationAt` is that of the operation that left the last block: a fault of the fetch is the fault of
   * the instruction at `ripSlot`, not of the current operation. So the caller of `run` cannot tell by the throw alone: resolve
   * has to note it.
   */
  resolve(linkAt: number): number;
  /** Executes helper `number` (helper-names.ts) of the operation at `operation`; returns a `helperResult`. */
  helper(number: number, operation: number): number;
  /** Reads; the result goes to `slowValueSlot` (zero-extended to 64 bits), its upper 8 of 16 bytes to `slowValueHighSlot`. */
  slowLoad(size: number): void;
  /** Writes `slowValueSlot` (its low bytes), and `slowValueHighSlot` of 16 bytes. Nothing may be written if any part of it faults. */
  slowStore(size: number): void;
  /**
   * Reads as `slowLoad` does, checked for writing. If the operand is plain RAM within one page and the page holds no code, sets
   * `modifyOffsetSlot` to where it is in {@link CoreImports} `ram`: the store will happen in WebAssembly. Else sets it to -1, remembers the operand,
   * and {@link slowStoreBack} follows within the same instruction.
   */
  slowModify(size: number): void;
  /** Writes `slowValueSlot` to the operand of the last {@link slowModify}. Cannot fault. `slowAddressSlot` holds nothing of use. */
  slowStoreBack(size: number): void;
  /** Raises a fault by throwing it. `errorCode` is -1 if the vector has none. */
  raise(vector: number, errorCode: number): void;
  /**
   * The full segment check of an access at an offset that the core could not prove to be in order: `segment` is the register's number,
   * the offset is in `slowAddressSlot`, `size` is in bytes. Returns if the access is allowed; else raises #GP(0), or #SS(0) for SS.
   */
  checkSegment(segment: number, size: number, write: number): void;
}

/** The import object. */
export interface CoreImports {
  readonly env: CoreFunctions & {
    /** Memory 0, see layout.ts: not shared, `coreMemorySize` bytes, initial equal to maximum. */
    readonly core: WebAssembly.Memory;
    /** Memory 1, guest RAM: shared, initial equal to maximum. */
    readonly ram: WebAssembly.Memory;
  };
}

/** The module's exports. */
export interface CoreExports {
  /**
   * Executes from the block at address `block` on, whose RIP is in `ripSlot`; 0 means that the block at `ripSlot` is looked up. Returns a
   * `runResult`, or throws what an import threw.
   *
   * Each block takes its number of instructions from `budgetAt` when it is entered. A block that would take more than is left is
   * not entered: then `ripSlot` is set and `run` returns `runResult.budget`. No new block is decoded once the budget is 0 or less, so to
   * execute one instruction: set the budget to 1 and run the block from `resolveSingle`. (The block itself may be longer than the budget only if
   * `run` is never to enter it: the caller must make the budget large enough for one block.)
   */
  run(block: number): number;
  /**
   * How many instructions of the running block have not completed, given the address of an operation of the one that did not complete:
   * what a fault must give back to the budget. The instruction of the operation counts as not completed.
   */
  unfinishedInstructions(operation: number): number;
  /** RFLAGS, with the lazy arithmetic flags computed. Changes nothing. */
  readFlags(): number;
  /** Empties both halves of the TLB. */
  flushTlb(): void;
}
