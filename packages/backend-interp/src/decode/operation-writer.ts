import { zeroSlot } from "../layout.ts";
import { operationFlag, operationSize } from "../operations.ts";
import type { CoreMemory } from "../processor-interface.ts";
import { absent, mayWrite } from "./kinds.ts";

/** Words (u32) of an operation that {@link OperationWriter} fills; see `field` in operations.ts. */
const word = {
  kindAndOffset: 0,
  destination: 1,
  source: 2,
  base: 3,
  index: 4,
  scaleFlagsAuxiliary: 5,
  displacement: 6,
  segment: 7,
  immediate: 8,
  immediateHigh: 9,
} as const;
/** Byte offset of the immediate field: the address of a constant operand, relative to its operation. */
const immediateOffset = 32;

/** Writes operations one after the other into the core memory. All fields that are not given get their neutral value. */
export class OperationWriter {
  readonly #u32: Uint32Array;
  /** Where the next operation goes. */
  cursor = 0;
  /** Offset of the current instruction from the block's first. */
  offset = 0;
  /** NOPs before the current instruction that have no operation. */
  skipped = 0;
  /** Whether the last instruction that has operations may have written memory. */
  wrote = false;
  #firstOfInstruction = true;

  constructor(core: CoreMemory) {
    this.#u32 = core.u32;
  }

  /** Begins a block whose operations start at `cursor`. */
  beginBlock(cursor: number): void {
    this.cursor = cursor;
    this.offset = 0;
    this.skipped = 0;
    this.wrote = false;
  }

  /** The operations that follow are those of the instruction at this offset from the block's start. */
  beginInstruction(offset: number): void {
    this.offset = offset;
    this.#firstOfInstruction = true;
  }

  /** Writes an operation between slots; returns its address. */
  emit(kind: number, destination: number, source: number): number {
    if (kind === absent) throw new RangeError("an opcode table asks for an operation that does not exist");
    const at = this.cursor;
    const u32 = this.#u32;
    const w = at >>> 2;
    this.cursor = at + operationSize;
    u32[w + word.kindAndOffset] = kind | (this.offset << 16);
    u32[w + word.destination] = destination;
    u32[w + word.source] = source;
    u32[w + word.base] = zeroSlot;
    u32[w + word.index] = zeroSlot;
    u32[w + word.displacement] = 0;
    u32[w + word.segment] = zeroSlot;
    u32[w + word.immediate] = 0;
    u32[w + word.immediateHigh] = 0;
    if (this.#firstOfInstruction) {
      this.#firstOfInstruction = false;
      this.wrote = mayWrite[kind] === 1;
      u32[w + word.scaleFlagsAuxiliary] = (operationFlag.first | (this.skipped << operationFlag.skippedShift)) << 8;
      this.skipped = 0;
    } else {
      this.wrote ||= mayWrite[kind] === 1;
      u32[w + word.scaleFlagsAuxiliary] = 0;
    }
    return at;
  }

  /** As {@link emit}, with `auxiliary`. */
  emitAuxiliary(kind: number, destination: number, source: number, auxiliary: number): number {
    const at = this.emit(kind, destination, source);
    this.setAuxiliary(at, auxiliary);
    return at;
  }

  /** An operation whose source is a constant: the 64-bit value high:low, kept in the operation. */
  emitConstant(kind: number, destination: number, low: number, high: number): number {
    const at = this.emit(kind, destination, this.cursor + immediateOffset);
    this.setImmediate(at, low, high);
    return at;
  }

  /** `end`: goes on at `displacement` from the block's start. It belongs to no instruction. */
  emitEnd(kind: number, displacement: number, linkable: boolean): void {
    this.#firstOfInstruction = false;
    const { skipped } = this;
    const at = this.emit(kind, 0, 0);
    this.setLinks(at, 0, 0, (linkable ? operationFlag.linkable : 0) | (skipped << operationFlag.skippedShift));
    this.setDisplacement(at, displacement);
  }

  setAuxiliary(at: number, auxiliary: number): void {
    this.#u32[(at >>> 2) + word.scaleFlagsAuxiliary] =
      ((this.#u32[(at >>> 2) + word.scaleFlagsAuxiliary] as number) & 0xffff) | (auxiliary << 16);
  }

  setScale(at: number, scale: number): void {
    this.#u32[(at >>> 2) + word.scaleFlagsAuxiliary] =
      ((this.#u32[(at >>> 2) + word.scaleFlagsAuxiliary] as number) & 0xffff_ff00) | scale;
  }

  /** Base and index (or the links in their place), and more bits of the flags. */
  setLinks(at: number, base: number, index: number, flags: number): void {
    const w = at >>> 2;
    this.#u32[w + word.base] = base;
    this.#u32[w + word.index] = index;
    this.#u32[w + word.scaleFlagsAuxiliary] = (this.#u32[w + word.scaleFlagsAuxiliary] as number) | (flags << 8);
  }

  setIndex(at: number, index: number): void {
    this.#u32[(at >>> 2) + word.index] = index;
  }

  setDisplacement(at: number, displacement: number): void {
    this.#u32[(at >>> 2) + word.displacement] = displacement;
  }

  setSegment(at: number, segment: number): void {
    this.#u32[(at >>> 2) + word.segment] = segment;
  }

  setImmediate(at: number, low: number, high: number): void {
    this.#u32[(at >>> 2) + word.immediate] = low;
    this.#u32[(at >>> 2) + word.immediateHigh] = high;
  }

  /** The operation's own immediate as the base of its address. */
  setBaseToImmediate(at: number): void {
    this.#u32[(at >>> 2) + word.base] = at + immediateOffset;
  }
}
