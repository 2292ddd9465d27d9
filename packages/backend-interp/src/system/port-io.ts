import type { AccessSize } from "@cpr/core";
import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { register, segment, systemType, vector } from "./architecture.ts";
import { linearAddress } from "./descriptors.ts";
import { Operands } from "./operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Raises #GP(0) unless CPL is at most IOPL or the task state segment's bitmap allows the ports (Intel SDM Vol. 1 §19.5). */
export function checkPorts(processor: SystemProcessor, port: number, size: number): void {
  const { registers, linear } = processor;
  if ((registers.cr0 & 1) === 0 || (!registers.virtual8086 && registers.cpl <= registers.ioPrivilege)) return;
  const type = registers.segmentAttributes(segment.tr) & 15;
  const limit = registers.segmentLimit(segment.tr);
  const base = registers.segmentBase(segment.tr);
  const wide = type === systemType.tss || type === systemType.tssBusy;
  if (!registers.segmentUnusable(segment.tr) && wide && limit >= 0x67) {
    const map = Number(linear.readSystem(linearAddress(processor, base + 0x66n), 2));
    const at = map + (port >>> 3);
    if (at + 1 <= limit) {
      const allowed = Number(linear.readSystem(linearAddress(processor, base + BigInt(at)), 2)) >>> (port & 7);
      if ((allowed & ((1 << size) - 1)) === 0) return;
    }
  }
  processor.raise(vector.generalProtection, 0);
}

/** IN and OUT. String forms are in strings.ts. */
export function portHelpers(processor: SystemProcessor): Helpers {
  const { registers, core, bus } = processor;
  const operands = new Operands(core);
  const { jump } = helperResult;

  const portOf = (operation: number): number => {
    const slot = operands.source(operation);
    return slot === 0 ? operands.immediate(operation) & 0xffff : operands.word(slot);
  };
  // NOTE: a device may ask for a reset or raise an interrupt, so the block ends behind these.
  const goOn = (operation: number): number => {
    registers.rip = processor.nextInstructionPointer(operation);
    return jump;
  };

  return {
    "port-in": (operation) => {
      const size = operands.scale(operation) as AccessSize;
      const port = portOf(operation);
      checkPorts(processor, port, size);
      processor.watchPort(port, size);
      const value = bus.ports.read(port, size) >>> 0;
      if (size === 4) registers.writeLow(register.rax, value);
      else registers.writePart(register.rax, size, BigInt(value));
      return goOn(operation);
    },
    "port-out": (operation) => {
      const size = operands.scale(operation) as AccessSize;
      const port = portOf(operation);
      checkPorts(processor, port, size);
      processor.watchPort(port, size);
      const value = registers.low(register.rax);
      bus.ports.write(port, size, size === 4 ? value : value & (2 ** (8 * size) - 1));
      return goOn(operation);
    },
  };
}
