/** FSTENV, FLDENV, FSAVE, FRSTOR: the four layouts of the environment (Intel SDM Vol. 1 §8.1.10). */
import type { X87Unit } from "./x87-unit.ts";

const registersSize = 80;

/** Size of an environment: 14 bytes for 16 bit operand size, 28 for 32 bit. */
function environmentSize(wide: boolean): number {
  return wide ? 28 : 14;
}

/**
 * Selectors are stored as zero, as processors do that deprecate them (CPUID.(7,0):EBX bit 13). In real mode the pointers
 * are linear.
 */
function environmentBytes(unit: X87Unit, wide: boolean): Uint8Array {
  const { protectedMode } = unit.processor.mode;
  const bytes = new Uint8Array(environmentSize(wide) + registersSize);
  const view = new DataView(bytes.buffer);
  const base = protectedMode ? 0n : unit.codeBase;
  const instruction = Number(BigInt.asUintN(32, unit.instructionPointer + base));
  const data = Number(BigInt.asUintN(32, unit.dataPointer));
  const words = [unit.control, unit.status, unit.fullTags()];
  if (wide) {
    words.forEach((word, index) => {
      view.setUint32(4 * index, (0xffff0000 | word) >>> 0, true);
    });
    if (protectedMode) {
      view.setUint32(12, instruction, true);
      view.setUint32(16, unit.opcode << 16, true);
      view.setUint32(20, data, true);
      view.setUint32(24, 0xffff0000, true);
    } else {
      view.setUint32(12, (0xffff0000 | (instruction & 0xffff)) >>> 0, true);
      view.setUint32(16, ((instruction >>> 16) << 12) | unit.opcode, true);
      view.setUint32(20, (0xffff0000 | (data & 0xffff)) >>> 0, true);
      view.setUint32(24, (data >>> 16) << 12, true);
    }
  } else {
    words.forEach((word, index) => {
      view.setUint16(2 * index, word, true);
    });
    view.setUint16(6, instruction, true);
    view.setUint16(8, protectedMode ? 0 : ((instruction >>> 4) & 0xf000) | unit.opcode, true);
    view.setUint16(10, data, true);
    view.setUint16(12, protectedMode ? 0 : (data >>> 4) & 0xf000, true);
  }
  return bytes;
}

function adopt(unit: X87Unit, bytes: Uint8Array, wide: boolean): void {
  const { protectedMode } = unit.processor.mode;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const step = wide ? 4 : 2;
  const low = (index: number): number => view.getUint16(step * index, true);
  let instruction: number;
  let data: number;
  let opcode = 0;
  if (protectedMode) {
    instruction = wide ? view.getUint32(12, true) : low(3);
    data = wide ? view.getUint32(20, true) : low(5);
    if (wide) opcode = view.getUint16(18, true) & 0x7ff;
  } else {
    const high = wide ? view.getUint32(16, true) : low(4);
    const dataHigh = wide ? view.getUint32(24, true) : low(6);
    opcode = high & 0x7ff;
    instruction = (low(3) | ((high & 0xffff000) << 4)) >>> 0;
    data = (low(5) | ((dataHigh & 0xffff000) << 4)) >>> 0;
    instruction = Number(BigInt.asUintN(32, BigInt(instruction) - unit.codeBase));
  }
  unit.control = (low(0) & 0x1f3f) | 0x40;
  unit.status = low(1);
  unit.tags = low(2);
  unit.opcode = opcode;
  unit.instructionPointer = BigInt(instruction);
  unit.dataPointer = BigInt(data);
  unit.summarize();
}

/** FNSTENV. All exceptions are masked afterwards. */
export function storeEnvironment(unit: X87Unit, wide: boolean): void {
  const bytes = environmentBytes(unit, wide).subarray(0, environmentSize(wide));
  unit.processor.linear.writeBytes(unit.effectiveAddress, bytes);
  unit.control |= 0x3f;
  unit.summarize();
}

export function loadEnvironment(unit: X87Unit, wide: boolean): void {
  adopt(unit, unit.processor.linear.readBytes(unit.effectiveAddress, environmentSize(wide)), wide);
}

/** FNSAVE: environment and registers from ST(0), then FNINIT. */
export function saveState(unit: X87Unit, wide: boolean): void {
  const bytes = environmentBytes(unit, wide);
  const view = new DataView(bytes.buffer);
  const start = environmentSize(wide);
  for (let index = 0; index < 8; index++) {
    const [significand, signAndExponent] = unit.readRaw(index);
    view.setBigUint64(start + 10 * index, significand, true);
    view.setUint16(start + 10 * index + 8, signAndExponent, true);
  }
  unit.processor.linear.writeBytes(unit.effectiveAddress, bytes);
  unit.initialize();
}

export function restoreState(unit: X87Unit, wide: boolean): void {
  const start = environmentSize(wide);
  const bytes = unit.processor.linear.readBytes(unit.effectiveAddress, start + registersSize);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  adopt(unit, bytes, wide);
  const { tags } = unit;
  for (let index = 0; index < 8; index++) {
    unit.writeRaw(index, view.getBigUint64(start + 10 * index, true), view.getUint16(start + 10 * index + 8, true));
  }
  // NOTE: writing a register marks it as not empty; the loaded tags count.
  unit.tags = tags;
}
