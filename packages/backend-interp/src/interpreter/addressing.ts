import { segmentField, segmentSize, segmentsAt, slowAddressSlot } from "../layout.ts";
import { legacyAddress } from "../operations.ts";
import { storeCurrentOperation } from "../semantics/faults.ts";
import { constant } from "../semantics/operand.ts";
import {
  call,
  choose,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  leave,
  type Memory,
  type ModuleBuilder,
  when,
} from "../wasm/index.ts";
import { OperationRecord } from "./operation-record.ts";

/** How an operation's address is made: see operations.ts. */
export type AddressForm = "base" | "full" | "legacy";

/** Import: the whole segment check, see imports.ts. */
export type CheckSegment = FunctionReference<readonly ["i32", "i32", "i32"], "none">;

/** Bits of a segment's attributes: type in 3:0, S in 4, P in 7. */
const attributes = { accessed: 0x01, writable: 0x02, expandDown: 0x04, code: 0x08, notSystem: 0x10, present: 0x80 };

/** Base + (index << scale) + displacement. */
function offset(record: OperationRecord): I64 {
  return i64.add(i64.add(record.slot("base"), record.displacement), i64.shl(record.slot("index"), record.scale));
}

/** An offset cut to the address size that `auxiliary` has. */
function cut(value: I64, auxiliary: I32): I64 {
  const size = i32.and(i32.shrU(auxiliary, i32.const(legacyAddress.sizeShift)), i32.const(3));
  const mask = choose(
    i32.eq(size, i32.const(2)),
    constant(-1),
    choose(i32.eq(size, i32.const(1)), constant(0xffff_ffff), constant(0xffff)),
  );
  return i64.and(value, mask);
}

/** Computes linear addresses, and the effective ones of LEA, from an operation's record. */
export class Addressing {
  readonly #legacy: FunctionReference<readonly ["i32", "i32", "i32"], "i64">;

  constructor(module: ModuleBuilder, core: Memory<"i32">, checkSegment: CheckSegment) {
    this.#legacy = module.defineFunction("legacyAddress", ["i32", "i32", "i32"], "i64", (f, pc, size, write) => {
      const record = new OperationRecord(core, pc);
      const bits = f.local("i32");
      const segment = f.local("i32");
      const kind = f.local("i32");
      const address = f.local("i64");
      const last = i64.add(address, i64.extendU(i32.sub(size, i32.const(1))));
      const { writable, expandDown, code, notSystem, present } = attributes;
      const isAny = (mask: number, value: number) => i32.eq(i32.and(kind, i32.const(mask)), i32.const(value));
      // Plain data segments allow everything up to their limits, readable code everything but writing. TypeScript looks at all others.
      const plainData = isAny(present | notSystem | code | expandDown | writable, present | notSystem | writable);
      const readableCode = isAny(present | notSystem | code | writable, present | notSystem | code | writable);
      const allowed = i32.or(plainData, i32.and(readableCode, i32.eqz(write)));
      const usable = i32.eqz(i32.load(core, segment, segmentField.unusable));
      return [
        bits.set(record.auxiliary),
        address.set(cut(offset(record), bits)),
        when(i32.and(bits, i32.const(legacyAddress.check)), [
          segment.set(
            i32.add(
              i32.mul(i32.and(bits, i32.const(legacyAddress.segmentMask)), i32.const(segmentSize)),
              i32.const(segmentsAt),
            ),
          ),
          kind.set(i32.load16u(core, segment, segmentField.attributes)),
          when(
            i32.eqz(i32.and(i32.and(allowed, usable), i64.leU(last, i64.load32u(core, segment, segmentField.limit)))),
            [
              storeCurrentOperation(core, pc),
              i64.store(core, i32.const(0), address, slowAddressSlot),
              call(checkSegment, i32.and(bits, i32.const(legacyAddress.segmentMask)), size, write),
            ],
          ),
        ]),
        address.set(i64.add(address, record.slot("segment"))),
        when(i32.and(bits, i32.const(legacyAddress.wrap)), [address.set(i64.and(address, constant(0xffff_ffff)))]),
        leave(address),
      ];
    });
  }

  /** The linear address of an access of `size` bytes. */
  linear(form: AddressForm, record: OperationRecord, size: number, write: boolean): I64 {
    switch (form) {
      case "base":
        return i64.add(record.slot("base"), record.displacement);
      case "full":
        return i64.add(offset(record), record.slot("segment"));
      case "legacy":
        return call(this.#legacy, record.pc, i32.const(size), i32.const(write ? 1 : 0));
    }
  }

  /** The linear address of the access that the immediate of an `address` operation tells of. */
  announced(form: AddressForm, record: OperationRecord): I64 {
    if (form !== "legacy") return this.linear(form, record, 1, false);
    const write = i32.wrap(i64.shrU(record.immediate, constant(32)));
    return call(this.#legacy, record.pc, i32.wrap(record.immediate), write);
  }

  /** LEA's address, without segment. */
  effective(record: OperationRecord): I64 {
    return cut(offset(record), record.auxiliary);
  }
}
