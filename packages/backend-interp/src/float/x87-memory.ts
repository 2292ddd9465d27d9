/** The x87 instructions with a memory operand: opcodes D8 to DF with ModRM below C0. */
import { field, helperResult } from "../operations.ts";
import type { Helper } from "../processor-interface.ts";
import {
  convert,
  defaultNaN,
  double,
  type Float,
  floatException,
  fromInteger,
  packDouble,
  packSingle,
  quieted,
  roundingControl,
  single,
  toInteger,
  unpackDouble,
  unpackSingle,
} from "./soft-float.ts";
import { arithmetic, compareWith, fromDecimal, toDecimal } from "./x87-arithmetic.ts";
import { loadEnvironment, restoreState, saveState, storeEnvironment } from "./x87-environment.ts";
import type { X87Unit } from "./x87-unit.ts";

const { invalid, denormal, overflow, underflow } = floatException;

type OperandType = "single" | "double" | "int16" | "int32" | "int64";

const operandSize = { single: 4, double: 8, int16: 2, int32: 4, int64: 8 } as const;

function readOperand(unit: X87Unit, type: OperandType): Float {
  const value = unit.processor.linear.read(unit.effectiveAddress, operandSize[type]);
  switch (type) {
    case "single":
      return unpackSingle(Number(value));
    case "double":
      return unpackDouble(value);
    case "int16":
      return fromInteger(BigInt.asIntN(16, value));
    case "int32":
      return fromInteger(BigInt.asIntN(32, value));
    default:
      return fromInteger(BigInt.asIntN(64, value));
  }
}

/** FADD … FDIVR with an operand in memory. */
function compute(unit: X87Unit, group: number, type: OperandType): void {
  const value = readOperand(unit, type);
  if (group === 2 || group === 3) {
    if (compareWith(unit, value, false) && group === 3) unit.pop();
  } else arithmetic(unit, group, 0, value);
}

/** FLD m32, FLD m64, FILD: everything the operand can be is exact. */
function load(unit: X87Unit, type: OperandType): void {
  const value = readOperand(unit, type);
  const environment = unit.begin();
  if (!unit.isEmpty(-1)) {
    unit.push(defaultNaN);
    return;
  }
  if (value.kind === "signaling") {
    environment.flags |= invalid;
    if (unit.settleEarly()) return;
  }
  unit.push(quieted(value));
  if (value.denormal) {
    // NOTE: an unmasked #D does not keep the operand from being loaded.
    environment.flags |= denormal;
    unit.settle();
  }
}

/** FST and FSTP m32 and m64; false if an unmasked exception forbids popping. */
function store(unit: X87Unit, type: "single" | "double"): boolean {
  const { processor } = unit;
  const size = operandSize[type];
  const address = unit.effectiveAddress;
  processor.linear.probeWrite(address, size);
  let value: Float;
  if (unit.isEmpty(0)) {
    unit.stackFault(false);
    if (!(unit.control & invalid)) return false;
    value = defaultNaN;
  } else {
    const environment = unit.begin();
    value = convert(environment, type === "single" ? single : double, unit.read(0), false);
    const lost = environment.flags & ~environment.masks & (invalid | overflow | underflow);
    if (lost) {
      // Nothing is stored, so nothing is rounded.
      environment.flags &= ~floatException.precision;
      environment.roundedUp = false;
    }
    unit.settle();
    if (lost) return false;
  }
  processor.linear.write(address, size, type === "single" ? BigInt(packSingle(value)) : packDouble(value));
  return true;
}

/** FIST, FISTP, FISTTP; false if an unmasked exception forbids popping. */
function storeInteger(unit: X87Unit, type: "int16" | "int32" | "int64", truncate: boolean): boolean {
  const { processor } = unit;
  const size = operandSize[type];
  const address = unit.effectiveAddress;
  processor.linear.probeWrite(address, size);
  let value: bigint | undefined;
  if (unit.isEmpty(0)) {
    unit.stackFault(false);
    if (!(unit.control & invalid)) return false;
  } else {
    const environment = unit.begin();
    if (truncate) environment.rounding = roundingControl.zero;
    value = toInteger(environment, unit.read(0), 8 * size);
    if (unit.settle() & invalid) return false;
  }
  const bits = BigInt(8 * size);
  processor.linear.write(address, size, BigInt.asUintN(8 * size, value ?? 1n << (bits - 1n)));
  return true;
}

/** FBSTP. */
function storeDecimal(unit: X87Unit): void {
  const { linear } = unit.processor;
  const address = unit.effectiveAddress;
  linear.probeWrite(address, 10);
  let bytes: Uint8Array;
  if (unit.isEmpty(0)) {
    unit.stackFault(false);
    if (!(unit.control & invalid)) return;
    bytes = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff);
  } else {
    const environment = unit.begin();
    bytes = toDecimal(environment, unit.read(0));
    if (unit.settle() & invalid) return;
  }
  linear.writeBytes(address, bytes);
  unit.pop();
}

/** FLD m80: the bits as they are. */
function loadExtended(unit: X87Unit): void {
  const bytes = unit.processor.linear.readBytes(unit.effectiveAddress, 10);
  unit.begin();
  if (!unit.isEmpty(-1)) {
    unit.push(defaultNaN);
    return;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, 10);
  unit.decrementTop();
  unit.writeRaw(0, view.getBigUint64(0, true), view.getUint16(8, true));
}

/** FSTP m80. */
function storeExtended(unit: X87Unit): void {
  const { linear } = unit.processor;
  linear.probeWrite(unit.effectiveAddress, 10);
  unit.begin();
  let raw: [bigint, number] = [0xc000000000000000n, 0xffff];
  if (unit.isEmpty(0)) {
    if (!unit.stackFault(false)) return;
  } else raw = unit.readRaw(0);
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, raw[0], true);
  view.setUint16(8, raw[1], true);
  linear.writeBytes(unit.effectiveAddress, bytes);
  unit.pop();
}

/** Memory instructions that do not wait for pending exceptions, and those that control the unit; false: another instruction. */
function control(unit: X87Unit, operation: number, opcode: number, group: number): boolean {
  const { linear } = unit.processor;
  const wide = unit.processor.core.u8[operation + field.scale] !== 2;
  if (opcode === 1) {
    switch (group) {
      case 4:
        unit.checkPending();
        loadEnvironment(unit, wide);
        return true;
      case 5:
        unit.checkPending();
        unit.control = (Number(linear.read(unit.effectiveAddress, 2)) & 0x1f3f) | 0x40;
        unit.summarize();
        return true;
      case 6:
        storeEnvironment(unit, wide);
        return true;
      case 7:
        linear.write(unit.effectiveAddress, 2, BigInt(unit.control));
        return true;
    }
  } else if (opcode === 5) {
    switch (group) {
      case 4:
        unit.checkPending();
        restoreState(unit, wide);
        return true;
      case 6:
        saveState(unit, wide);
        return true;
      case 7:
        linear.write(unit.effectiveAddress, 2, BigInt(unit.status));
        return true;
    }
  }
  return false;
}

const integerArithmetic: Readonly<Record<number, OperandType>> = { 0: "single", 2: "int32", 4: "double", 6: "int16" };

function execute(unit: X87Unit, opcode: number, group: number): void {
  const type = integerArithmetic[opcode];
  if (type) {
    compute(unit, group, type);
    return;
  }
  const popIf = (complete: boolean): void => {
    if (complete) unit.pop();
  };
  switch (opcode * 8 + group) {
    case 0o10:
      load(unit, "single");
      break;
    case 0o12:
      store(unit, "single");
      break;
    case 0o13:
      popIf(store(unit, "single"));
      break;
    case 0o30:
      load(unit, "int32");
      break;
    case 0o31:
      popIf(storeInteger(unit, "int32", true));
      break;
    case 0o32:
      storeInteger(unit, "int32", false);
      break;
    case 0o33:
      popIf(storeInteger(unit, "int32", false));
      break;
    case 0o35:
      loadExtended(unit);
      break;
    case 0o37:
      storeExtended(unit);
      break;
    case 0o50:
      load(unit, "double");
      break;
    case 0o51:
      popIf(storeInteger(unit, "int64", true));
      break;
    case 0o52:
      store(unit, "double");
      break;
    case 0o53:
      popIf(store(unit, "double"));
      break;
    case 0o70:
      load(unit, "int16");
      break;
    case 0o71:
      popIf(storeInteger(unit, "int16", true));
      break;
    case 0o72:
      storeInteger(unit, "int16", false);
      break;
    case 0o73:
      popIf(storeInteger(unit, "int16", false));
      break;
    case 0o74: {
      const bytes = unit.processor.linear.readBytes(unit.effectiveAddress, 10);
      unit.begin();
      unit.push(fromDecimal(bytes));
      break;
    }
    case 0o75:
      load(unit, "int64");
      break;
    case 0o76:
      storeDecimal(unit);
      break;
    case 0o77:
      popIf(storeInteger(unit, "int64", false));
      break;
  }
}

/** Whether an instruction exists. */
function isDefined(opcode: number, group: number): boolean {
  if (opcode === 1) return group !== 1;
  if (opcode === 3) return group !== 4 && group !== 6;
  if (opcode === 5) return group !== 5;
  return true;
}

/** Helper `x87-memory`. */
export function x87MemoryHelper(unit: X87Unit): Helper {
  const { core } = unit.processor;
  return (operation) => {
    const immediate = core.u32[(operation + field.immediate) >> 2] as number;
    const opcode = (immediate >> 8) & 7;
    const group = (immediate >> 3) & 7;
    if (!isDefined(opcode, group)) unit.processor.raise(6);
    unit.checkAvailable();
    if (!control(unit, operation, opcode, group)) {
      unit.checkPending();
      const pointers = [unit.opcode, unit.instructionPointer, unit.dataPointer] as const;
      unit.recordPointers(operation, true);
      try {
        execute(unit, opcode, group);
      } catch (fault) {
        // A fault of the operand's access leaves the instruction undone.
        [unit.opcode, unit.instructionPointer, unit.dataPointer] = pointers;
        throw fault;
      }
    }
    return helperResult.next;
  };
}
