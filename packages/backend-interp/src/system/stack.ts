import { attribute, register, segment, vector } from "./architecture.ts";
import { isCanonical } from "./descriptors.ts";
import { access } from "./paging.ts";
import type { SegmentValue } from "./registers.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Whether `size` bytes at an offset lie in a segment that ends at or, if it expands down, begins after its limit. */
export function withinLimit(limit: number, attributes: number, offset: number, size: number): boolean {
  const last = offset + size - 1;
  const expandsDown = attribute.ordinary | attribute.conforming;
  if ((attributes & (expandsDown | attribute.code)) === expandsDown) {
    return offset > limit && last <= ((attributes & attribute.big) !== 0 ? 0xffff_ffff : 0xffff);
  }
  return last <= limit;
}

/**
 * A stack and a pointer into it that is not yet the guest's: pushes and pops can fault halfway without a register
 * having changed. {@link commit} makes RSP what the pointer has become.
 */
export class StackCursor {
  /** The stack pointer, within the stack's width. */
  pointer: bigint;
  readonly #processor: SystemProcessor;
  readonly #base: bigint;
  readonly #limit: number;
  readonly #attributes: number;
  readonly #width: 2 | 4 | 8;
  readonly #rights: number;
  readonly #faultCode: number;

  private constructor(
    processor: SystemProcessor,
    stack: Pick<SegmentValue, "base" | "limit" | "attributes">,
    width: 2 | 4 | 8,
    pointer: bigint,
    rights: number,
    faultCode: number,
  ) {
    this.#processor = processor;
    this.#base = stack.base;
    this.#limit = stack.limit;
    this.#attributes = stack.attributes;
    this.#width = width;
    this.#rights = rights;
    this.#faultCode = faultCode;
    this.pointer = BigInt.asUintN(8 * width, pointer);
  }

  /** The guest's stack as it is. */
  static current(processor: SystemProcessor): StackCursor {
    const { registers } = processor;
    return new StackCursor(
      processor,
      {
        base: registers.segmentBase(segment.ss),
        limit: registers.segmentLimit(segment.ss),
        attributes: registers.segmentAttributes(segment.ss),
      },
      processor.mode.stackSize,
      registers.read(register.rsp),
      registers.cpl === 3 ? access.user : 0,
      0,
    );
  }

  /** The stack of 64-bit mode at another pointer, with the rights of a privilege level. */
  static long(processor: SystemProcessor, pointer: bigint, privilege: number): StackCursor {
    const stack = { base: 0n, limit: 0xffff_ffff, attributes: 0 };
    return new StackCursor(processor, stack, 8, pointer, privilege === 3 ? access.user : 0, 0);
  }

  /** Another stack segment, as a task state segment names it; faults carry its selector. */
  static other(processor: SystemProcessor, stack: SegmentValue, pointer: bigint, privilege: number): StackCursor {
    const width = (stack.attributes & attribute.big) !== 0 ? 4 : 2;
    const rights = privilege === 3 ? access.user : 0;
    return new StackCursor(processor, stack, width, pointer, rights, stack.selector & 0xfffc);
  }

  push(size: number, value: bigint): void {
    const pointer = BigInt.asUintN(8 * this.#width, this.pointer - BigInt(size));
    this.#processor.linear.writeAs(this.#rights, this.#address(pointer, size), size as 2 | 4 | 8, value);
    this.pointer = pointer;
  }

  pop(size: number): bigint {
    const value = this.peek(size);
    this.skip(size);
    return value;
  }

  peek(size: number, offset = 0): bigint {
    const pointer = BigInt.asUintN(8 * this.#width, this.pointer + BigInt(offset));
    return this.#processor.linear.readAs(this.#rights, this.#address(pointer, size), size as 2 | 4 | 8);
  }

  skip(size: number): void {
    this.pointer = BigInt.asUintN(8 * this.#width, this.pointer + BigInt(size));
  }

  /** Checks that `size` bytes at the pointer can be written. */
  probe(size: number): void {
    this.#processor.linear.probeWriteAs(this.#rights, this.#address(this.pointer, size), size);
  }

  /** Makes the guest's stack pointer this one; a 16-bit stack leaves the upper bits of ESP. */
  commit(): void {
    this.#processor.registers.writePart(register.rsp, this.#width, this.pointer);
  }

  #address(pointer: bigint, size: number): bigint {
    if (this.#width === 8) {
      if (!isCanonical(pointer)) this.#processor.raise(vector.stackFault, this.#faultCode);
      return pointer;
    }
    if (!withinLimit(this.#limit, this.#attributes, Number(pointer), size)) {
      this.#processor.raise(vector.stackFault, this.#faultCode);
    }
    return BigInt.asUintN(32, this.#base + pointer);
  }
}
