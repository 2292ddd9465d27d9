/** The x87 instructions without a memory operand: opcodes D8 to DF with ModRM C0 to FF. */
import { registersAt } from "../layout.ts";
import { field, helperResult } from "../operations.ts";
import type { Helper } from "../processor-interface.ts";
import {
  defaultNaN,
  finite,
  floatException,
  infinity,
  propagate,
  roundToIntegral,
  squareRoot,
  zero,
} from "./soft-float.ts";
import { constant } from "./transcendental.ts";
import {
  arithmetic,
  compareIntoFlags,
  compareWith,
  examine,
  extractParts,
  remainder,
  scale,
} from "./x87-arithmetic.ts";
import { binary, circularOne, circularTwo, powerOfTwo } from "./x87-transcendental.ts";
import { statusBit, type X87Unit } from "./x87-unit.ts";

const one = finite(0, 1n, 0);

/** ST(index), or undefined if it is empty. */
function operand(unit: X87Unit, index: number) {
  return unit.isEmpty(index) ? undefined : unit.read(index);
}

function clearC1(unit: X87Unit): void {
  unit.status &= ~statusBit.c1;
}

/** FLD ST(i). */
function loadRegister(unit: X87Unit, index: number): void {
  clearC1(unit);
  const underflow = unit.isEmpty(index);
  if (underflow || !unit.isEmpty(-1)) {
    if (unit.stackFault(!underflow)) {
      unit.decrementTop();
      unit.write(0, defaultNaN);
    }
    return;
  }
  const [significand, signAndExponent] = unit.readRaw(index);
  unit.decrementTop();
  unit.writeRaw(0, significand, signAndExponent);
}

/** FST ST(i); false if an unmasked stack fault forbids popping. */
function storeRegister(unit: X87Unit, index: number): boolean {
  clearC1(unit);
  if (unit.isEmpty(0)) {
    if (!unit.stackFault(false)) return false;
    unit.write(index, defaultNaN);
    return true;
  }
  unit.writeRaw(index, ...unit.readRaw(0));
  return true;
}

/** D9 D8 to D9 DF: FSTP ST(i), but an empty register is no fault and is not stored. */
function storeWithoutFault(unit: X87Unit, index: number): void {
  clearC1(unit);
  if (unit.isEmpty(0)) {
    unit.incrementTop();
    return;
  }
  storeRegister(unit, index);
  unit.pop();
}

function exchange(unit: X87Unit, index: number): void {
  clearC1(unit);
  const empties = [0, index].filter((at) => unit.isEmpty(at));
  if (empties.length > 0) {
    if (!unit.stackFault(false)) return;
    for (const at of empties) unit.write(at, defaultNaN);
  }
  const first = unit.readRaw(0);
  const second = unit.readRaw(index);
  unit.writeRaw(0, ...second);
  unit.writeRaw(index, ...first);
}

/** FCMOVcc: condition 0 B, 1 E, 2 BE, 3 U; plus 4: negated. */
function conditionalMove(unit: X87Unit, condition: number, index: number): void {
  if (unit.isEmpty(0) || unit.isEmpty(index)) {
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const flags = unit.processor.readFlags();
  const mask = [1, 0x40, 0x41, 4][condition & 3] as number;
  if (((flags & mask) !== 0) !== condition >= 4) unit.writeRaw(0, ...unit.readRaw(index));
}

/** FCHS and FABS: no exception but an empty register. */
function changeSign(unit: X87Unit, absolute: boolean): void {
  clearC1(unit);
  if (unit.isEmpty(0)) {
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const [significand, signAndExponent] = unit.readRaw(0);
  unit.writeRaw(0, significand, absolute ? signAndExponent & 0x7fff : signAndExponent ^ 0x8000);
}

function loadConstant(unit: X87Unit, which: number): void {
  const environment = unit.begin();
  if (!unit.isEmpty(-1)) {
    if (unit.stackFault(true)) {
      unit.decrementTop();
      unit.write(0, defaultNaN);
    }
    return;
  }
  unit.decrementTop();
  const names = ["l2t", "l2e", "pi", "lg2", "ln2"] as const;
  const name = names[which - 1];
  unit.write(0, which === 0 ? one : name ? constant(environment, name) : zero(0));
}

/** FXTRACT. */
function extract(unit: X87Unit): void {
  clearC1(unit);
  if (unit.isEmpty(0) || !unit.isEmpty(-1)) {
    if (!unit.stackFault(!unit.isEmpty(0))) return;
    unit.write(0, defaultNaN);
    unit.decrementTop();
    unit.write(0, defaultNaN);
    return;
  }
  const environment = unit.begin();
  const a = unit.read(0);
  let exponent = propagate(environment, a, one);
  let significand = exponent;
  if (!exponent || !significand) {
    significand = a;
    if (a.kind === "zero") {
      environment.flags |= floatException.zeroDivide;
      exponent = infinity(1);
    } else if (a.kind === "infinity") {
      exponent = infinity(0);
    } else {
      if (a.denormal) environment.flags |= floatException.denormal;
      ({ exponent, significand } = extractParts(a));
    }
  }
  if (unit.settleEarly()) return;
  unit.write(0, exponent);
  unit.decrementTop();
  unit.write(0, significand);
}

function scaleTop(unit: X87Unit): void {
  clearC1(unit);
  if (unit.isEmpty(0) || unit.isEmpty(1)) {
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const environment = unit.begin();
  const result = scale(environment, unit.read(0), unit.read(1));
  if (!unit.settleEarly()) unit.write(0, result);
}

/** FSQRT, FRNDINT. */
function unary(unit: X87Unit, which: "root" | "round"): void {
  clearC1(unit);
  if (unit.isEmpty(0)) {
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const environment = unit.begin();
  const a = unit.read(0);
  const result = which === "root" ? squareRoot(environment, unit.format, a) : roundToIntegral(environment, a);
  if (!unit.settleEarly()) unit.write(0, result);
}

/** D9 E0 to D9 FF. */
function special(unit: X87Unit, code: number): void {
  switch (code) {
    case 0xe0:
      changeSign(unit, false);
      return;
    case 0xe1:
      changeSign(unit, true);
      return;
    case 0xe4:
      compareWith(unit, zero(0), false);
      return;
    case 0xe5:
      examine(unit);
      return;
    case 0xe8:
    case 0xe9:
    case 0xea:
    case 0xeb:
    case 0xec:
    case 0xed:
    case 0xee:
      loadConstant(unit, code - 0xe8);
      return;
    case 0xf0:
      powerOfTwo(unit);
      return;
    case 0xf1:
      binary(unit, "logarithm");
      return;
    case 0xf2:
      circularTwo(unit, "tangent");
      return;
    case 0xf3:
      binary(unit, "arctangent");
      return;
    case 0xf4:
      extract(unit);
      return;
    case 0xf5:
      remainder(unit, true);
      return;
    case 0xf6:
      clearC1(unit);
      unit.decrementTop();
      return;
    case 0xf7:
      clearC1(unit);
      unit.incrementTop();
      return;
    case 0xf8:
      remainder(unit, false);
      return;
    case 0xf9:
      binary(unit, "logarithm-plus-one");
      return;
    case 0xfa:
      unary(unit, "root");
      return;
    case 0xfb:
      circularTwo(unit, "sine-and-cosine");
      return;
    case 0xfc:
      unary(unit, "round");
      return;
    case 0xfd:
      scaleTop(unit);
      return;
    case 0xfe:
      circularOne(unit, "sine");
      return;
    case 0xff:
      circularOne(unit, "cosine");
      return;
  }
}

/** DB E0 to DB E7 and DF E0: control instructions, which do not wait for pending exceptions; false: another instruction. */
function control(unit: X87Unit, opcode: number, code: number): boolean {
  if (opcode === 3 && code >= 0xe0 && code <= 0xe4) {
    if (code === 0xe2) unit.status &= 0x7f00;
    if (code === 0xe3) unit.initialize();
    // E0, E1, E4 (FENI, FDISI, FSETPM) meant something to older coprocessors and do nothing.
    return true;
  }
  if (opcode === 7 && code === 0xe0) {
    unit.processor.core.u16[registersAt >> 1] = unit.status;
    return true;
  }
  return false;
}

/** All other instructions by opcode (bits 2:0) and ModRM. */
function execute(unit: X87Unit, opcode: number, code: number): void {
  const index = code & 7;
  const group = (code >> 3) & 7;
  switch (opcode) {
    case 0:
      if (group === 2 || group === 3) {
        if (compareWith(unit, operand(unit, index), false) && group === 3) unit.pop();
      } else arithmetic(unit, group, 0, operand(unit, index));
      return;
    case 1:
      if (group === 0) loadRegister(unit, index);
      else if (group === 1) exchange(unit, index);
      else if (group === 3) storeWithoutFault(unit, index);
      else if (group > 3) special(unit, code);
      return;
    case 2:
      if (group < 4) conditionalMove(unit, group, index);
      else if (code === 0xe9) {
        if (compareWith(unit, operand(unit, 1), true)) {
          unit.pop();
          unit.pop();
        }
      }
      return;
    case 3:
      if (group < 4) conditionalMove(unit, group + 4, index);
      else if (group === 5 || group === 6) compareIntoFlags(unit, index, group === 5);

      return;
    case 4:
      if (group === 2 || group === 3) {
        if (compareWith(unit, operand(unit, index), false) && group === 3) unit.pop();
      } else arithmetic(unit, group < 4 ? group : group ^ 1, index, operand(unit, 0));
      return;
    case 5:
      if (group === 0) {
        clearC1(unit);
        unit.free(index);
      } else if (group === 1) exchange(unit, index);
      else if (group === 2) storeRegister(unit, index);
      else if (group === 3) {
        if (storeRegister(unit, index)) unit.pop();
      } else if (group === 4 || group === 5) {
        if (compareWith(unit, operand(unit, index), true) && group === 5) unit.pop();
      }
      return;
    case 6:
      if (group === 2) {
        if (compareWith(unit, operand(unit, index), false)) unit.pop();
      } else if (group === 3) {
        if (compareWith(unit, operand(unit, 1), false)) {
          unit.pop();
          unit.pop();
        }
      } else if (arithmetic(unit, group < 4 ? group : group ^ 1, index, operand(unit, 0))) unit.pop();
      return;
    default:
      if (group === 0) {
        clearC1(unit);
        unit.free(index);
        unit.pop();
      } else if (group === 1) exchange(unit, index);
      else if (group === 2 || group === 3) {
        if (storeRegister(unit, index)) unit.pop();
      } else if (group === 5 || group === 6) {
        if (compareIntoFlags(unit, index, group === 5)) unit.pop();
      }
      return;
  }
}

/** Whether `execute` knows an instruction: undefined ones raise #UD before #MF. */
function isDefined(opcode: number, code: number): boolean {
  const group = (code >> 3) & 7;
  switch (opcode) {
    case 1:
      if (group === 2) return code === 0xd0;
      return group < 4 || !(code === 0xe2 || code === 0xe3 || code === 0xe6 || code === 0xe7 || code === 0xef);
    case 2:
      return group < 4 || code === 0xe9;
    case 3:
      return group < 4 || group === 5 || group === 6 || (code >= 0xe0 && code <= 0xe4);
    case 5:
      return group < 6;
    case 6:
      return group !== 3 || code === 0xd9;
    case 7:
      return group < 4 || group === 5 || group === 6 || code === 0xe0;
    default:
      return true;
  }
}

/** Helper `x87-register`. */
export function x87RegisterHelper(unit: X87Unit): Helper {
  const { core } = unit.processor;
  return (operation) => {
    const immediate = core.u32[(operation + field.immediate) >> 2] as number;
    const opcode = (immediate >> 8) & 7;
    const code = immediate & 0xff;
    if (!isDefined(opcode, code)) unit.processor.raise(6);
    unit.checkAvailable();
    if (!control(unit, opcode, code)) {
      unit.checkPending();
      unit.recordPointers(operation, false);
      execute(unit, opcode, code);
    }
    return helperResult.next;
  };
}
