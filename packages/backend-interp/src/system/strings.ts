import type { AccessSize } from "@cpr/core";
import { registersAt } from "../layout.ts";
import { helperResult } from "../operations.ts";
import type { Helper, Helpers } from "../processor-interface.ts";
import { register } from "./architecture.ts";
import { access } from "./paging.ts";
import { checkPorts } from "./port-io.ts";
import { StringOperands } from "./string-operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Bytes that one execution of a repeated instruction moves before interrupts get their turn. */
const stretch = 0x1_0000;
/** Elements for those that go one by one. */
const fewElements = 0x400;
/** Up to here a loop is faster than a call of a bulk operation. */
const shortLength = 32;

/**
 * The string instructions (Intel SDM Vol. 1 §7.3.9). Elements within one page are done at once; registers are kept exact
 * behind each such group, so that a fault or an interrupt between them finds a restartable state.
 */
export function stringHelpers(processor: SystemProcessor): Helpers {
  const { registers, core, linear, bus } = processor;
  const { u8: ram } = processor.ram;
  const ramView = processor.ram.view;
  const operands = new StringOperands(processor);
  const { jump } = helperResult;
  const accumulator = registersAt >> 2;

  const done = (operation: number): number => {
    registers.rip = processor.nextInstructionPointer(operation);
    return jump;
  };
  /** A stretch is done: behind the instruction if nothing is left, else at it again, so that interrupts are seen. */
  const pauseOrDone = (operation: number): number => {
    if (operands.repeat === 0 || operands.count === 0) return done(operation);
    registers.rip = processor.instructionPointer(operation);
    return jump;
  };

  const copy = (from: number, to: number, elements: number): void => {
    const length = elements * operands.size;
    if (operands.step > 0) {
      if (length <= shortLength || (to > from && to < from + length)) {
        copyElements(from, to, elements, operands.size);
      } else {
        ram.copyWithin(to, from, from + length);
      }
    } else {
      copyElements(from, to, elements, -operands.size);
    }
  };
  const copyElements = (from: number, to: number, elements: number, step: number): void => {
    // NOTE: element by element, because an overlap repeats the pattern at the front.
    const { size } = operands;
    for (let index = 0; index < elements; index++) {
      const source = from + index * step;
      const destination = to + index * step;
      if (size === 8) {
        const low = ramView.getUint32(source, true);
        const high = ramView.getUint32(source + 4, true);
        ramView.setUint32(destination, low, true);
        ramView.setUint32(destination + 4, high, true);
      } else if (size === 4) ramView.setUint32(destination, ramView.getUint32(source, true), true);
      else if (size === 2) ramView.setUint16(destination, ramView.getUint16(source, true), true);
      else ram[destination] = ram[source] as number;
    }
  };

  const fill = (to: number, elements: number, low: number, high: number): void => {
    const { size, step } = operands;
    const length = elements * size;
    const start = step > 0 ? to : to - length + size;
    const byte = low & 0xff;
    const uniform =
      size === 1 ||
      (size === 2 && (low & 0xffff) === byte * 0x101) ||
      (low === byte * 0x0101_0101 && (size === 4 || high === low));
    if (uniform) {
      ram.fill(byte, start, start + length);
      return;
    }
    for (let at = start; at < start + length; at += size) {
      if (size === 2) ramView.setUint16(at, low & 0xffff, true);
      else {
        ramView.setUint32(at, low, true);
        if (size === 8) ramView.setUint32(at + 4, high, true);
      }
    }
  };

  const watched = (high: number, low: number): boolean => processor.watchesPage(high, low);

  const move: Helper = (operation) => {
    if (!operands.begin(operation)) return done(operation);
    let left = processor.singleStepping ? 1 : stretch;
    do {
      const together = operands.locate(true, true);
      const { size, rights, sourceHigh, sourceLow, destinationHigh, destinationLow } = operands;
      let moved = 1;
      const plain = together > 0 && !watched(sourceHigh, sourceLow) && !watched(destinationHigh, destinationLow);
      const from = plain ? linear.translate(sourceHigh, sourceLow, rights) : -1;
      const to = from >= 0 ? linear.translate(destinationHigh, destinationLow, rights | access.write) : -1;
      if (to >= 0) {
        moved = together;
        copy(from, to, moved);
        linear.written(to);
      } else {
        linear.load(sourceHigh, sourceLow, size, rights);
        linear.store(destinationHigh, destinationLow, size, linear.valueLow, linear.valueHigh, rights);
      }
      operands.advance(moved, true, true);
      left -= moved * size;
    } while (operands.count > 0 && left > 0 && operands.repeat !== 0);
    return pauseOrDone(operation);
  };

  const store: Helper = (operation) => {
    if (!operands.begin(operation)) return done(operation);
    const low = core.u32[accumulator] as number;
    const high = core.u32[accumulator + 1] as number;
    let left = processor.singleStepping ? 1 : stretch;
    do {
      const together = operands.locate(false, true);
      const { size, rights, destinationHigh, destinationLow } = operands;
      let stored = 1;
      const plain = together > 0 && !watched(destinationHigh, destinationLow);
      const to = plain ? linear.translate(destinationHigh, destinationLow, rights | access.write) : -1;
      if (to >= 0) {
        stored = together;
        fill(to, stored, low, high);
        linear.written(to);
      } else {
        linear.store(destinationHigh, destinationLow, size, low, high, rights);
      }
      operands.advance(stored, false, true);
      left -= stored * size;
    } while (operands.count > 0 && left > 0 && operands.repeat !== 0);
    return pauseOrDone(operation);
  };

  const load: Helper = (operation) => {
    if (!operands.begin(operation)) return done(operation);
    let left = processor.singleStepping ? 1 : fewElements;
    do {
      operands.locate(true, false);
      const { size } = operands;
      linear.load(operands.sourceHigh, operands.sourceLow, size, operands.rights);
      if (size === 8) {
        core.u32[accumulator] = linear.valueLow;
        core.u32[accumulator + 1] = linear.valueHigh;
      } else if (size === 4) {
        registers.writeLow(register.rax, linear.valueLow);
      } else if (size === 2) {
        core.u16[accumulator * 2] = linear.valueLow;
      } else {
        core.u8[accumulator * 4] = linear.valueLow;
      }
      operands.advance(1, true, false);
      left -= 1;
    } while (operands.count > 0 && left > 0 && operands.repeat !== 0);
    return pauseOrDone(operation);
  };

  /** CMPS and SCAS: until the count is used up or an element (with REPE) differs or (with REPNE) equals. */
  const search = (operation: number, useSource: boolean): number => {
    if (!operands.begin(operation)) return done(operation);
    const { size, rights } = operands;
    let left = processor.singleStepping ? 1 : fewElements;
    let equal = false;
    do {
      operands.locate(useSource, true);
      let leftLow = core.u32[accumulator] as number;
      let leftHigh = size === 8 ? (core.u32[accumulator + 1] as number) : 0;
      if (useSource) {
        linear.load(operands.sourceHigh, operands.sourceLow, size, rights);
        leftLow = linear.valueLow;
        leftHigh = linear.valueHigh;
      } else if (size < 4) {
        leftLow &= size === 1 ? 0xff : 0xffff;
      }
      linear.load(operands.destinationHigh, operands.destinationLow, size, rights);
      equal = operands.compare(leftLow, leftHigh, linear.valueLow, linear.valueHigh);
      operands.advance(1, useSource, true);
      left -= 1;
    } while (operands.count > 0 && left > 0 && operands.repeat !== 0 && equal === (operands.repeat === 1));
    return operands.repeat !== 0 && equal !== (operands.repeat === 1) ? done(operation) : pauseOrDone(operation);
  };

  const portIn: Helper = (operation) => {
    const port = registers.low(register.rdx) & 0xffff;
    if (!operands.begin(operation)) return done(operation);
    const size = operands.size as AccessSize;
    checkPorts(processor, port, size);
    processor.watchPort(port, size);
    let left = processor.singleStepping ? 1 : fewElements;
    do {
      operands.locate(false, true);
      const { rights, destinationHigh, destinationLow } = operands;
      // NOTE: checked first, because reading a port cannot be taken back.
      linear.probeStore(destinationHigh, destinationLow, size, rights);
      linear.store(destinationHigh, destinationLow, size, bus.ports.read(port, size) >>> 0, 0, rights);
      operands.advance(1, false, true);
      left -= 1;
    } while (operands.count > 0 && left > 0 && operands.repeat !== 0);
    return pauseOrDone(operation);
  };

  const portOut: Helper = (operation) => {
    const port = registers.low(register.rdx) & 0xffff;
    if (!operands.begin(operation)) return done(operation);
    const size = operands.size as AccessSize;
    checkPorts(processor, port, size);
    processor.watchPort(port, size);
    let left = processor.singleStepping ? 1 : fewElements;
    do {
      operands.locate(true, false);
      linear.load(operands.sourceHigh, operands.sourceLow, size, operands.rights);
      bus.ports.write(port, size, linear.valueLow);
      operands.advance(1, true, false);
      left -= 1;
    } while (operands.count > 0 && left > 0 && operands.repeat !== 0);
    return pauseOrDone(operation);
  };

  return {
    "string-move": move,
    "string-store": store,
    "string-load": load,
    "string-compare": (operation) => search(operation, true),
    "string-scan": (operation) => search(operation, false),
    "string-in": portIn,
    "string-out": portOut,
  };
}
