/** MMX instructions: on the low 64 bits of the x87 registers, which they put into a state of their own (Intel SDM Vol. 1 §9.5). */
import { conversionScratchAt, registersAt, x87RegistersAt, xmmAt } from "../layout.ts";
import { field, helperResult } from "../operations.ts";
import type { Helper } from "../processor-interface.ts";
import { mmxArithmetic, readsHalf } from "./mmx-arithmetic.ts";
import { executeExactly, type VectorUnit } from "./vector-exact.ts";
import { storeMasked } from "./vector-rare.ts";
import type { X87Unit } from "./x87-unit.ts";

const low32 = 0xffffffffn;

/** What an instruction is made of. */
interface Instruction {
  /** 0F xx; 0F 38 xx with 0x100, 0F 3A xx with 0x200 added. */
  readonly opcode: number;
  readonly prefix: number;
  readonly memory: boolean;
  /** Register numbers: ModRM.reg and .rm without and with the bits of REX. */
  readonly reg: number;
  readonly rm: number;
  readonly regWide: number;
  readonly rmWide: number;
  /** REX.W. */
  readonly wide: boolean;
  readonly immediate: number;
}

/** The MMX registers, and what an instruction does to the x87 state around them. */
class MmxUnit {
  readonly x87: X87Unit;
  readonly #u64: BigUint64Array;
  readonly #u16: Uint16Array;

  constructor(x87: X87Unit) {
    this.x87 = x87;
    this.#u64 = x87.processor.core.u64;
    this.#u16 = x87.processor.core.u16;
  }

  read(register: number): bigint {
    return this.#u64[(x87RegistersAt >> 3) + 2 * register] as bigint;
  }

  /** Writes a register: its upper 16 bits become ones. */
  write(register: number, value: bigint): void {
    this.#u64[(x87RegistersAt >> 3) + 2 * register] = value;
    this.#u16[(x87RegistersAt >> 1) + 8 * register + 4] = 0xffff;
  }

  /** TOP becomes 0, all registers count as in use. */
  enter(): void {
    this.x87.top = 0;
    this.x87.tags = 0;
  }

  /** ModRM.rm's value: an MMX register or memory. */
  operand(instruction: Instruction, size: 4 | 8): bigint {
    if (!instruction.memory) return this.read(instruction.rm);
    return this.x87.processor.linear.read(this.x87.effectiveAddress, size);
  }
}

/** Copies between registers and memory, insertions and extractions; false: another instruction. */
function move(unit: MmxUnit, i: Instruction): boolean {
  const { processor, effectiveAddress } = unit.x87;
  const { core, linear } = processor;
  const generalAt = (registersAt >> 3) + i.rmWide;
  switch (i.opcode) {
    case 0x6e: {
      const size = i.wide ? 8 : 4;
      const value = i.memory ? linear.read(effectiveAddress, size) : (core.u64[generalAt] as bigint);
      unit.enter();
      unit.write(i.reg, i.wide ? value : value & low32);
      return true;
    }
    case 0x7e: {
      const value = i.wide ? unit.read(i.reg) : unit.read(i.reg) & low32;
      if (i.memory) linear.write(effectiveAddress, i.wide ? 8 : 4, value);
      else core.u64[generalAt] = value;
      unit.enter();
      return true;
    }
    case 0x6f: {
      const value = unit.operand(i, 8);
      unit.enter();
      unit.write(i.reg, value);
      return true;
    }
    case 0x7f:
    case 0xe7:
      if (i.memory) linear.write(effectiveAddress, 8, unit.read(i.reg));
      else unit.write(i.rm, unit.read(i.reg));
      unit.enter();
      return true;
    case 0x70: {
      const value = unit.operand(i, 8);
      let result = 0n;
      for (let lane = 0; lane < 4; lane++) {
        const from = (i.immediate >> (2 * lane)) & 3;
        result |= ((value >> BigInt(16 * from)) & 0xffffn) << BigInt(16 * lane);
      }
      unit.enter();
      unit.write(i.reg, result);
      return true;
    }
    case 0xc4: {
      const word = i.memory ? linear.read(effectiveAddress, 2) : (core.u64[generalAt] as bigint) & 0xffffn;
      const shift = BigInt(16 * (i.immediate & 3));
      unit.enter();
      unit.write(i.reg, (unit.read(i.reg) & ~(0xffffn << shift)) | (word << shift));
      return true;
    }
    case 0xc5:
      if (i.memory) return false;
      core.u64[(registersAt >> 3) + i.regWide] = (unit.read(i.rm) >> BigInt(16 * (i.immediate & 3))) & 0xffffn;
      unit.enter();
      return true;
    case 0xd7: {
      if (i.memory) return false;
      let mask = 0n;
      for (let byte = 0n; byte < 8n; byte++) mask |= ((unit.read(i.rm) >> (8n * byte + 7n)) & 1n) << byte;
      core.u64[(registersAt >> 3) + i.regWide] = mask;
      unit.enter();
      return true;
    }
    case 0xf7: {
      if (i.memory) return false;
      const bytes = (value: bigint) => new Uint8Array(BigUint64Array.of(value).buffer);
      storeMasked(processor, bytes(unit.read(i.reg)), bytes(unit.read(i.rm)));
      unit.enter();
      return true;
    }
    default:
      return false;
  }
}

/** MOVQ2DQ, MOVDQ2Q. */
function moveBetween(unit: MmxUnit, i: Instruction): boolean {
  if (i.opcode !== 0xd6 || i.memory) return false;
  const { u64 } = unit.x87.processor.core;
  unit.enter();
  if (i.prefix === 0xf3) {
    const at = (xmmAt >> 3) + 2 * i.regWide;
    u64[at] = unit.read(i.rm);
    u64[at + 1] = 0n;
  } else unit.write(i.reg, u64[(xmmAt >> 3) + 2 * i.rmWide] as bigint);
  return true;
}

/** CVTPI2PS, CVTPI2PD, CVT(T)PS2PI, CVT(T)PD2PI. */
function convert(unit: MmxUnit, vectors: VectorUnit, i: Instruction): boolean {
  const { processor, effectiveAddress } = unit.x87;
  const { u32, u64 } = processor.core;
  const isDouble = i.prefix === 0x66;
  if (i.opcode === 0x2a) {
    const value = unit.operand(i, 8);
    // NOTE: an operand in memory leaves the x87 state alone (on AMD's processors; the manuals differ about CVTPI2PS).
    if (!i.memory) unit.enter();
    const d = xmmAt + 16 * i.regWide;
    u64[conversionScratchAt >> 3] = value;
    u64[(conversionScratchAt >> 3) + 1] = 0n;
    if (isDouble) {
      const doubles = new Float64Array(u64.buffer, d, 2);
      const integers = BigInt.asIntN(32, value);
      doubles[0] = Number(integers);
      doubles[1] = Number(BigInt.asIntN(32, value >> 32n));
    } else {
      const upper = u64[(d >> 3) + 1] as bigint;
      executeExactly(vectors, "cvtdq2ps", { d: conversionScratchAt, s: conversionScratchAt, immediate: 0 });
      u64[d >> 3] = u64[conversionScratchAt >> 3] as bigint;
      u64[(d >> 3) + 1] = upper;
    }
    return true;
  }
  if (i.opcode !== 0x2c && i.opcode !== 0x2d) return false;
  u64.fill(0n, conversionScratchAt >> 3, (conversionScratchAt >> 3) + 2);
  if (i.memory) {
    if (isDouble && effectiveAddress % 16n !== 0n) processor.raise(13, 0);
    const bytes = processor.linear.readBytes(effectiveAddress, isDouble ? 16 : 8);
    processor.core.u8.set(bytes, conversionScratchAt);
  } else {
    const s = (xmmAt >> 3) + 2 * i.rmWide;
    u64[conversionScratchAt >> 3] = u64[s] as bigint;
    if (isDouble) u64[(conversionScratchAt >> 3) + 1] = u64[s + 1] as bigint;
  }
  const truncate = i.opcode === 0x2c ? "t" : "";
  const name = isDouble ? `cvt${truncate}pd2dq` : `cvt${truncate}ps2dq`;
  executeExactly(vectors, name, { d: conversionScratchAt, s: conversionScratchAt, immediate: 0 });
  unit.enter();
  const low = BigInt(u32[conversionScratchAt >> 2] as number);
  unit.write(i.reg, low | (BigInt(u32[(conversionScratchAt >> 2) + 1] as number) << 32n));
  return true;
}

/** Shifts by the immediate (0F 71 to 73): ModRM.reg says which; undefined: no instruction. */
function shiftOpcode(opcode: number, extension: number): number | undefined {
  const base = opcode - 0x71;
  if (extension === 2) return 0xd1 + base;
  if (extension === 6) return 0xf1 + base;
  if (extension === 4 && base < 2) return 0xe1 + base;
  return undefined;
}

function arithmetic(unit: MmxUnit, i: Instruction): boolean {
  if (i.opcode === 0x20f) {
    const value = (unit.read(i.reg) << 64n) | unit.operand(i, 8);
    unit.enter();
    unit.write(i.reg, BigInt.asUintN(64, value >> BigInt(8 * i.immediate)));
    return true;
  }
  let { opcode } = i;
  let register = i.reg;
  let second: bigint;
  if (opcode >= 0x71 && opcode <= 0x73) {
    const shift = shiftOpcode(opcode, i.reg);
    if (shift === undefined || i.memory) return false;
    opcode = shift;
    register = i.rm;
    second = BigInt(i.immediate);
  } else {
    second = unit.operand(i, readsHalf(opcode) ? 4 : 8);
  }
  const result = mmxArithmetic(opcode, unit.read(register), second);
  if (result === undefined) return false;
  unit.enter();
  unit.write(register, result);
  return true;
}

/** Helper `mmx`. */
export function mmxHelper(x87: X87Unit, vectors: VectorUnit): Helper {
  const unit = new MmxUnit(x87);
  const { u8, u32 } = x87.processor.core;
  return (operation) => {
    const source = u32[(operation + field.source) >> 2] as number;
    const destination = u32[(operation + field.destination) >> 2] as number;
    const modrm = destination & 0xff;
    const rex = destination >> 8;
    const reg = (modrm >> 3) & 7;
    const rm = modrm & 7;
    const instruction: Instruction = {
      opcode: (source & 0xff) | ((source >> 16) << 8),
      prefix: (source >> 8) & 0xff,
      memory: modrm < 0xc0,
      reg,
      rm,
      regWide: reg | ((rex & 4) << 1),
      rmWide: rm | ((rex & 1) << 3),
      wide: (rex & 8) !== 0,
      immediate: u8[operation + field.immediate] as number,
    };
    x87.checkMmxAvailable();
    const { opcode, prefix } = instruction;
    // CVTPI2PS and CVTPI2PD of memory have nothing to do with the x87 registers.
    if (!(opcode === 0x2a && instruction.memory)) x87.checkPending();
    const done =
      opcode >= 0x2a && opcode <= 0x2d
        ? convert(unit, vectors, instruction)
        : prefix !== 0
          ? moveBetween(unit, instruction)
          : move(unit, instruction) || arithmetic(unit, instruction);
    if (!done) x87.processor.raise(6);
    return helperResult.next;
  };
}

/** EMMS. */
export function emptyMmxHelper(x87: X87Unit): Helper {
  return () => {
    x87.checkMmxAvailable();
    x87.checkPending();
    x87.top = 0;
    x87.tags = 0xffff;
    return helperResult.next;
  };
}
