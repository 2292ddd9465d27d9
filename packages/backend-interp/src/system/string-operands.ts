import {
  flagsKind,
  flagsKindAt,
  flagsLeftAt,
  flagsResultAt,
  flagsRightAt,
  registersAt,
  segmentField,
  segmentSize,
  segmentsAt,
} from "../layout.ts";
import { flag, register, segment } from "./architecture.ts";
import { Operands } from "./operands.ts";
import { access } from "./paging.ts";
import type { SystemProcessor } from "./system-processor.ts";

/**
 * The operands of the string instruction that executes: where the source (rSI) and the destination (rDI) are, how many
 * elements are left, and how many of them lie in the same pages, so that they can be done at once.
 */
export class StringOperands {
  /** Bytes of an element. */
  size = 1;
  /** Elements left to do: 1 without a repeat prefix. */
  count = 0;
  /** 0 none, 1 REP or REPE, 2 REPNE. */
  repeat = 0;
  /** Distance to the next element in bytes, negative if the direction flag is set. */
  step = 1;
  /** Linear addresses in halves. */
  sourceHigh = 0;
  sourceLow = 0;
  destinationHigh = 0;
  destinationLow = 0;
  /** `user` bit of memory accesses. */
  rights = 0;
  sourceSegment = 3;

  readonly #processor: SystemProcessor;
  readonly #operands: Operands;
  readonly #u32: Uint32Array;
  readonly #u16: Uint16Array;
  #addressSize = 8;
  #offset = 0;

  constructor(processor: SystemProcessor) {
    this.#processor = processor;
    this.#operands = new Operands(processor.core);
    this.#u32 = processor.core.u32;
    this.#u16 = processor.core.u16;
  }

  /** Reads the operation's fields. Returns false if a repeated instruction has nothing to do. */
  begin(operation: number): boolean {
    const operands = this.#operands;
    this.size = operands.scale(operation);
    this.#addressSize = operands.destination(operation);
    this.repeat = operands.source(operation);
    this.sourceSegment = operands.index(operation);
    const { registers } = this.#processor;
    this.step = (registers.systemFlags & flag.direction) !== 0 ? -this.size : this.size;
    this.rights = registers.cpl === 3 ? access.user : 0;
    if (this.repeat === 0) {
      this.count = 1;
      return true;
    }
    this.count = this.#remaining();
    return this.count !== 0;
  }

  #remaining(): number {
    const at = (registersAt >> 2) + register.rcx * 2;
    const low = this.#u32[at] as number;
    if (this.#addressSize === 8) return (this.#u32[at + 1] as number) * 0x1_0000_0000 + low;
    return this.#addressSize === 4 ? low : low & 0xffff;
  }

  /** Computes the addresses that an instruction uses. Returns how many of the elements left lie in the same pages; 0 if the first one crosses a page. */
  locate(useSource: boolean, useDestination: boolean): number {
    let together = this.#processor.singleStepping ? 1 : this.count;
    if (useSource) {
      this.#address(register.rsi, this.sourceSegment);
      this.sourceHigh = this.#high;
      this.sourceLow = this.#low;
      together = this.#limit(together, this.sourceSegment, this.#low, false);
    }
    if (useDestination) {
      this.#address(register.rdi, segment.es);
      this.destinationHigh = this.#high;
      this.destinationLow = this.#low;
      together = this.#limit(together, segment.es, this.#low, true);
    }
    return together;
  }

  #high = 0;
  #low = 0;

  #address(index: number, segmentIndex: number): void {
    const u32 = this.#u32;
    const at = (registersAt >> 2) + index * 2;
    let low = u32[at] as number;
    let high = this.#addressSize === 8 ? (u32[at + 1] as number) : 0;
    if (this.#addressSize === 2) low &= 0xffff;
    this.#offset = low;
    const { long } = this.#processor.mode;
    if (!long || segmentIndex >= segment.fs) {
      const base = (segmentsAt + segmentIndex * segmentSize + segmentField.base) >> 2;
      const sum = low + (u32[base] as number);
      high = (high + (u32[base + 1] as number) + (sum > 0xffff_ffff ? 1 : 0)) >>> 0;
      low = sum >>> 0;
    }
    this.#low = low;
    this.#high = long ? high : 0;
  }

  /** Cuts a number of elements to those within the page, the address size and the segment. */
  #limit(elements: number, segmentIndex: number, low: number, write: boolean): number {
    const { size } = this;
    const within = low & 0xfff;
    const forward = this.step > 0;
    let together = elements;
    if (within + size > 0x1000) together = 0;
    else together = Math.min(together, forward ? Math.floor((0x1000 - within) / size) : Math.floor(within / size) + 1);
    if (this.#addressSize < 8) {
      const end = this.#addressSize === 2 ? 0x1_0000 : 0x1_0000_0000;
      const offset = this.#offset;
      const left = forward ? Math.floor((end - offset) / size) : Math.floor(offset / size) + 1;
      together = Math.min(together, left);
    }
    const { mode } = this.#processor;
    if (!mode.long && (!mode.flat || segmentIndex >= segment.fs)) {
      // Each element is checked by itself: in segments with limits strings are short.
      this.#processor.checkSegment(segmentIndex, BigInt(this.#offset), size, write);
      together = Math.min(together, 1);
    }
    return together;
  }

  /** Moves the pointers by `elements`, and counts them. */
  advance(elements: number, useSource: boolean, useDestination: boolean): void {
    const distance = elements * this.step;
    if (useSource) this.#move(register.rsi, distance);
    if (useDestination) this.#move(register.rdi, distance);
    if (this.repeat !== 0) {
      this.#move(register.rcx, -elements);
    }
    this.count -= elements;
  }

  #move(index: number, distance: number): void {
    const u32 = this.#u32;
    const at = (registersAt >> 2) + index * 2;
    if (this.#addressSize === 2) {
      this.#u16[at * 2] = (this.#u16[at * 2] as number) + distance;
      return;
    }
    const sum = (u32[at] as number) + distance;
    u32[at] = sum;
    if (this.#addressSize === 4) u32[at + 1] = 0;
    else if (sum > 0xffff_ffff) u32[at + 1] = (u32[at + 1] as number) + 1;
    else if (sum < 0) u32[at + 1] = (u32[at + 1] as number) - 1;
  }

  /** Sets the flags as a comparison of two elements does, lazily. Returns whether they are equal. */
  compare(leftLow: number, leftHigh: number, rightLow: number, rightHigh: number): boolean {
    const u32 = this.#u32;
    const shift = 32 - 8 * Math.min(this.size, 4);
    const wide = this.size === 8;
    const left = (leftLow << shift) >> shift;
    const right = (rightLow << shift) >> shift;
    u32[flagsKindAt >> 2] = flagsKind.difference;
    u32[flagsLeftAt >> 2] = left;
    u32[(flagsLeftAt >> 2) + 1] = wide ? leftHigh : left >> 31;
    u32[flagsRightAt >> 2] = right;
    u32[(flagsRightAt >> 2) + 1] = wide ? rightHigh : right >> 31;
    if (wide) {
      const difference = leftLow - rightLow;
      u32[flagsResultAt >> 2] = difference;
      u32[(flagsResultAt >> 2) + 1] = leftHigh - rightHigh - (difference < 0 ? 1 : 0);
    } else {
      const result = ((left - right) << shift) >> shift;
      u32[flagsResultAt >> 2] = result;
      u32[(flagsResultAt >> 2) + 1] = result >> 31;
    }
    return leftLow === rightLow && leftHigh === rightHigh;
  }
}
