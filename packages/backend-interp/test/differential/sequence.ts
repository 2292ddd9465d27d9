import type { Bitness } from "./instruction-forms.ts";

/** CF PF AF ZF SF OF. */
export const arithmeticFlags = 0x8d5;

/** One instruction of a sequence, and what it does to the flags. */
export interface Item {
  /** From the start of the sequence. */
  readonly offset: number;
  readonly length: number;
  /** Items of the same group only make sense together. */
  readonly group: number;
  readonly flagsRead: number;
  /** Flags that are defined afterwards. */
  readonly flagsWritten: number;
  readonly flagsUndefined: number;
  /** Target of a forward jump, from the start of the sequence. */
  readonly target: number | undefined;
  /** Flags are not comparable if the instruction faults half-way. */
  readonly interruptible: boolean;
}

/** A sequence of instructions and the state that it starts from. */
export interface Sequence {
  readonly bitness: Bitness;
  /** Where the code is in the two pages of code. */
  readonly codeOffset: number;
  /** Ends with UD2, which is no item. */
  readonly code: Uint8Array;
  readonly items: readonly Item[];
  /** 16 registers in encoding order: low and high half each. */
  readonly registers: Uint32Array;
  readonly flags: number;
  /** FXSAVE image up to XMM15. */
  readonly media: Uint8Array;
}

/** FXSAVE image without what is reserved. */
export const mediaSize = 416;
export const mediaAt = { control: 0, status: 2, tags: 4, mxcsr: 24, stack: 32, xmm: 160 } as const;

/** How a sequence ended: by the UD2 at its end, or by a fault before it. */
export interface Outcome {
  /** Exception vector. */
  vector: number;
  errorCode: number;
  /** CR2 of a #PF. */
  faultAddress: bigint;
  rip: bigint;
  flags: number;
  registers: Uint32Array;
  media: Uint8Array;
  /** The sequence did not end by itself, or left the sequence's world by a system call. */
  endless: boolean;
  systemCall: boolean;
}

/**
 * Which flags are undefined before each item (by offset), and at the end of the sequence. Items of `removed` groups count
 * as not there. undefined: an item reads a flag that is undefined.
 */
export function undefinedFlags(
  sequence: Pick<Sequence, "items" | "code">,
  removed: ReadonlySet<number>,
): Map<number, number> | undefined {
  const joins = new Map<number, number>();
  const before = new Map<number, number>();
  let tainted = 0;
  for (const item of sequence.items) {
    tainted |= joins.get(item.offset) ?? 0;
    before.set(item.offset, item.interruptible ? arithmeticFlags : tainted);
    if (removed.has(item.group)) continue;
    if ((item.flagsRead & tainted) !== 0) return undefined;
    tainted = (tainted & ~item.flagsWritten) | item.flagsUndefined;
    if (item.target !== undefined) joins.set(item.target, (joins.get(item.target) ?? 0) | tainted);
  }
  const end = sequence.code.length - 2;
  before.set(end, tainted | (joins.get(end) ?? 0));
  return before;
}

/** The sequence with the instructions of some groups replaced by NOPs. */
export function withoutGroups(sequence: Sequence, removed: ReadonlySet<number>): Sequence {
  const code = sequence.code.slice();
  for (const item of sequence.items) {
    if (removed.has(item.group)) code.fill(0x90, item.offset, item.offset + item.length);
  }
  return { ...sequence, code };
}
