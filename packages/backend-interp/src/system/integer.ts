import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { arithmeticFlags, flag, register, vector } from "./architecture.ts";
import { storeFlags } from "./flags.ts";
import { Operands } from "./operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  // CRC-32C, reflected (Intel SDM Vol. 2A, CRC32).
  for (let bit = 0; bit < 8; bit++) value = (value & 1) !== 0 ? (value >>> 1) ^ 0x82f6_3b78 : value >>> 1;
  return value;
});

/** Even parity of the low byte. */
function parityOf(value: number): number {
  const folded = value ^ (value >> 4);
  return ((0x9669 >> (folded & 15)) & 1) !== 0 ? flag.parity : 0;
}

/** Bit strings in memory, CMPXCHG8B and 16B, decimal adjustments, CRC32 (Intel SDM Vol. 2). */
export function integerHelpers(processor: SystemProcessor): Helpers {
  const { registers, core, linear } = processor;
  const operands = new Operands(core);
  const { next } = helperResult;
  const setFlags = (flags: number) => storeFlags(core.u32, flags);
  const al = () => registers.low(register.rax) & 0xff;
  const ah = () => (registers.low(register.rax) >>> 8) & 0xff;
  const setAx = (high: number, low: number) =>
    registers.writePart(register.rax, 2, BigInt(((high & 0xff) << 8) | (low & 0xff)));
  const byteFlags = (value: number): number =>
    parityOf(value) | ((value & 0xff) === 0 ? flag.zero : 0) | ((value & 0x80) !== 0 ? flag.sign : 0);

  const adjust = (direction: 1 | -1): number => {
    const flags = processor.readFlags();
    const needed = (al() & 15) > 9 || (flags & flag.adjust) !== 0;
    if (needed) {
      const sum = (registers.low(register.rax) & 0xffff) + direction * 6 + direction * 0x100;
      setAx(sum >> 8, sum & 15);
    } else {
      setAx(ah(), al() & 15);
    }
    setFlags((flags & ~arithmeticFlags) | (needed ? flag.adjust | flag.carry : 0) | byteFlags(al()));
    return next;
  };
  const decimal = (direction: 1 | -1): number => {
    const flags = processor.readFlags();
    const before = al();
    const carryBefore = (flags & flag.carry) !== 0;
    let value = before;
    let carry = false;
    let adjusted = false;
    if ((before & 15) > 9 || (flags & flag.adjust) !== 0) {
      value += direction * 6;
      carry = carryBefore || value > 0xff || value < 0;
      adjusted = true;
    }
    if (before > 0x99 || carryBefore) {
      value += direction * 0x60;
      carry = true;
    } else if (direction === 1) {
      // NOTE: DAA clears the carry here whatever the first step gave; DAS keeps its borrow.
      carry = false;
    }
    setAx(ah(), value);
    setFlags(
      (flags & ~arithmeticFlags) | (carry ? flag.carry : 0) | (adjusted ? flag.adjust : 0) | byteFlags(value & 0xff),
    );
    return next;
  };

  return {
    "compare-exchange8b": () => {
      const address = operands.effectiveAddress;
      linear.probeWrite(address, 8);
      const value = linear.read(address, 8);
      const expected = (BigInt(registers.low(register.rdx)) << 32n) | BigInt(registers.low(register.rax));
      const flags = processor.readFlags();
      if (value === expected) {
        linear.write(address, 8, (BigInt(registers.low(register.rcx)) << 32n) | BigInt(registers.low(register.rbx)));
        setFlags(flags | flag.zero);
      } else {
        // The destination is written in any case, which a device would notice.
        linear.write(address, 8, value);
        registers.write(register.rax, value & 0xffff_ffffn);
        registers.write(register.rdx, value >> 32n);
        setFlags(flags & ~flag.zero);
      }
      return next;
    },
    "compare-exchange16b": () => {
      const address = operands.effectiveAddress;
      if ((address & 15n) !== 0n) processor.raise(vector.generalProtection, 0);
      linear.probeWrite(address, 16);
      const low = linear.read(address, 8);
      const high = linear.read(address + 8n, 8);
      const flags = processor.readFlags();
      if (low === registers.read(register.rax) && high === registers.read(register.rdx)) {
        linear.write(address, 8, registers.read(register.rbx));
        linear.write(address + 8n, 8, registers.read(register.rcx));
        setFlags(flags | flag.zero);
      } else {
        registers.write(register.rax, low);
        registers.write(register.rdx, high);
        setFlags(flags & ~flag.zero);
      }
      return next;
    },
    "ascii-adjust-add": () => adjust(1),
    "ascii-adjust-subtract": () => adjust(-1),
    "ascii-adjust-multiply": (operation) => {
      const base = operands.immediate(operation) & 0xff;
      if (base === 0) processor.raise(vector.divideError);
      const value = al();
      setAx(Math.trunc(value / base), value % base);
      setFlags((processor.readFlags() & ~arithmeticFlags) | byteFlags(al()));
      return next;
    },
    "ascii-adjust-divide": (operation) => {
      const base = operands.immediate(operation) & 0xff;
      setAx(0, al() + ah() * base);
      setFlags((processor.readFlags() & ~arithmeticFlags) | byteFlags(al()));
      return next;
    },
    "decimal-adjust-add": () => decimal(1),
    "decimal-adjust-subtract": () => decimal(-1),
    "set-al-from-carry": () => {
      registers.writePart(register.rax, 1, (processor.readFlags() & flag.carry) !== 0 ? 0xffn : 0n);
      return next;
    },
    crc32: (operation) => {
      const size = operands.scale(operation);
      const destination = operands.destination(operation);
      let value = operands.read(operands.source(operation), size);
      let crc = operands.low(destination);
      for (let index = 0; index < size; index++) {
        crc = (crc >>> 8) ^ (crcTable[(crc ^ Number(value & 0xffn)) & 0xff] as number);
        value >>= 8n;
      }
      operands.write(destination, 4, BigInt(crc >>> 0));
      return next;
    },
  };
}
