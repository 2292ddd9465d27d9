/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.

/**
 * What the parts of the interpreter see of each other. `Processor` (system/processor.ts) is the object that all
 * TypeScript parts share; the types here are what the decoder and the helpers may rely on.
 */
import type { HelperName } from "./helper-names.ts";

/** Views of the core memory (see layout.ts). */
export interface CoreMemory {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  /** Indexed by address / 8. */
  readonly u64: BigUint64Array;
  readonly view: DataView;
}

/** Views of guest RAM (WebAssembly memory 1); indices are RAM offsets, not guest-physical addresses. */
export interface RamViews {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly view: DataView;
  readonly size: number;
  /** Where RAM begins in {@link memory}. The views begin there, too; what WebAssembly is told has to have it added. */
  readonly start: number;
}

/** Linear memory as instructions see it: paging, privilege, page crossings, MMIO and stale code are taken care of. */
export interface LinearMemory {
  /** Reads 1, 2, 4 or 8 bytes at the current privilege. Raises #PF and the like by throwing the guest fault. */
  read(address: bigint, size: 1 | 2 | 4 | 8): bigint;
  write(address: bigint, size: 1 | 2 | 4 | 8, value: bigint): void;
  /** Checks that a write would succeed, without writing. */
  probeWrite(address: bigint, size: number): void;
  /** Reads or writes any number of bytes: all of it is checked before any of it is written. */
  readBytes(address: bigint, length: number): Uint8Array;
  writeBytes(address: bigint, bytes: Uint8Array): void;
  /** As {@link read} and {@link write}, with supervisor rights whatever CPL is: descriptor tables, TSS. */
  readSystem(address: bigint, size: 1 | 2 | 4 | 8): bigint;
  writeSystem(address: bigint, size: 1 | 2 | 4 | 8, value: bigint): void;
  /** RAM offset of a linear address for an instruction fetch. Throws #PF (or #GP if not canonical); -1 if it is not RAM. */
  translateFetch(address: bigint): number;
  /**
   * Called when a RAM page begins to hold decoded code (just after it came among the {@link CodePages}): from then on
   * stores to it are seen, under whatever linear address.
   */
  protectCode(ramPage: number): void;
}

/** What the decoder needs to know of a mode; `number` is what `modeAt` holds and what the key of a block contains. */
export interface Mode {
  readonly number: number;
  /** CS.L in long mode. */
  readonly long: boolean;
  /** Default operand and address size in bytes outside 64-bit mode: CS.D ? 4 : 2. */
  readonly size: 2 | 4;
  /** Stack size in bytes: 8, or SS.B ? 4 : 2. */
  readonly stackSize: 2 | 4 | 8;
  /** CS, DS, ES and SS have base 0 and limit 4 GiB and are writable or readable as usual: no segment arithmetic is needed. */
  readonly flat: boolean;
  /** CR0.PE is set and EFLAGS.VM is clear. */
  readonly protectedMode: boolean;
  /** CPL is 3. */
  readonly user: boolean;
  /**
   * Whether SSE instructions may execute (part of the mode's number, so that blocks differ): "ud" if CR0.EM is set or
   * CR4.OSFXSR is clear, else "nm" if CR0.TS is set. If not "yes", the decoder emits helper `raise` (vector 6 or 7) in
   * place of every instruction on XMM registers and in place of LDMXCSR and STMXCSR. The exceptions are made for those that
   * never look: SFENCE, LFENCE, MFENCE, PREFETCHh, MOVNTI, CLFLUSH, CRC32, POPCNT, PAUSE; and for helpers x87-*, wait, mmx,
   * empty-mmx-state, save-*, restore-*: they look at CR0 and CR4 themselves.
   */
  readonly vectorsAllowed: "yes" | "ud" | "nm";
}

/** The decoded blocks. */
export interface CodeCache {
  /**
   * The block at `ripSlot` in the current mode, decoded if need be: its address. Enters it in the jump cache and, if `linkAt`
   * is not 0, writes it to that address (a jump's link field), unless the target lies in another page or the arena was emptied meanwhile.
   * Throws the guest fault of the fetch.
   */
  resolve(linkAt: number): number;
  /** A block of just the one instruction at `ripSlot`, not kept: for single steps and interrupt shadows. */
  resolveSingle(): number;
  /** Forgets all blocks. */
  flush(): void;
}

/** Implements a helper: `operation` is the operation's address in the core memory. Returns a `helperResult`. */
export type Helper = (operation: number) => number;

/** A set of helpers, by name. */
export type Helpers = Partial<Record<HelperName, Helper>>;

/** A fault of the guest: thrown, caught by the processor's run loop, delivered. One object a processor, reused. */
export interface GuestFault {
  readonly guestFault: true;
  vector: number;
  /** undefined: the exception has none. */
  errorCode: number | undefined;
}

/** What helpers use of the processor. */
export interface ProcessorCore {
  readonly core: CoreMemory;
  readonly ram: RamViews;
  readonly linear: LinearMemory;
  readonly code: CodeCache;
  /** The current mode. */
  readonly mode: Mode;
  /** Throws the guest fault: #DE 0, #UD 6, #NM 7, #GP 13, #PF 14, #MF 16, #AC 17, #XM 19, … */
  raise(vector: number, errorCode?: number): never;
  /** All of RFLAGS, with the lazy flags computed. */
  readFlags(): number;
  /** Sets RFLAGS; the arithmetic flags become explicit. No privilege check; changes of IF, TF, VM take effect. */
  writeFlags(flags: number): void;
  /** RIP of the instruction that executes, and of the one after it (`displacement` is its length). */
  instructionPointer(operation: number): bigint;
  nextInstructionPointer(operation: number): bigint;
}
