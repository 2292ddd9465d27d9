import { effectiveAddressSlot } from "../layout.ts";
import { field } from "../operations.ts";
import type { CoreMemory } from "../processor-interface.ts";

/** A helper operation's fields and the slots that they point to. */
export class Operands {
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #u64: BigUint64Array;
  readonly #view: DataView;

  constructor(core: CoreMemory) {
    this.#u8 = core.u8;
    this.#u16 = core.u16;
    this.#u32 = core.u32;
    this.#i32 = core.i32;
    this.#u64 = core.u64;
    this.#view = core.view;
  }

  scale(operation: number): 1 | 2 | 4 | 8 {
    return this.#u8[operation + field.scale] as 1 | 2 | 4 | 8;
  }
  destination(operation: number): number {
    return this.#u32[(operation + field.destination) >> 2] as number;
  }
  source(operation: number): number {
    return this.#u32[(operation + field.source) >> 2] as number;
  }
  base(operation: number): number {
    return this.#u32[(operation + field.base) >> 2] as number;
  }
  index(operation: number): number {
    return this.#u32[(operation + field.index) >> 2] as number;
  }
  displacement(operation: number): number {
    return this.#i32[(operation + field.displacement) >> 2] as number;
  }
  segmentSlot(operation: number): number {
    return this.#u32[(operation + field.segment) >> 2] as number;
  }
  /** Low 32 bits of the immediate, signed. */
  immediate(operation: number): number {
    return this.#i32[(operation + field.immediate) >> 2] as number;
  }
  /** All of the immediate, signed. */
  wideImmediate(operation: number): bigint {
    return this.#view.getBigInt64(operation + field.immediate, true);
  }

  /** The value in a slot, `size` bytes, unsigned. Slots of single bytes need not be aligned. */
  read(slot: number, size: number): bigint {
    switch (size) {
      case 1:
        return BigInt(this.#u8[slot] as number);
      case 2:
        return BigInt(this.#u16[slot >> 1] as number);
      case 4:
        return BigInt(this.#u32[slot >> 2] as number);
      default:
        return this.#u64[slot >> 3] as bigint;
    }
  }

  /** Writes a register or temporary as instructions do: 1 and 2 bytes leave the rest, 4 clear the upper half. */
  write(slot: number, size: number, value: bigint): void {
    switch (size) {
      case 1:
        this.#u8[slot] = Number(value & 0xffn);
        break;
      case 2:
        this.#u16[slot >> 1] = Number(value & 0xffffn);
        break;
      case 4:
        this.#u64[slot >> 3] = value & 0xffff_ffffn;
        break;
      default:
        this.#u64[slot >> 3] = value;
    }
  }

  /** Low 16 bits of a slot. */
  word(slot: number): number {
    return this.#u16[slot >> 1] as number;
  }
  low(slot: number): number {
    return this.#u32[slot >> 2] as number;
  }

  /** The linear address that an `address-…` operation computed. */
  get effectiveAddress(): bigint {
    return this.#u64[effectiveAddressSlot >> 3] as bigint;
  }
  get effectiveLow(): number {
    return this.#u32[effectiveAddressSlot >> 2] as number;
  }
  get effectiveHigh(): number {
    return this.#u32[(effectiveAddressSlot >> 2) + 1] as number;
  }
}
