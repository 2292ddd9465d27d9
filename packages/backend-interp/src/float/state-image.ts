/** FXSAVE, XSAVE and their counterparts: the memory image of x87, MMX and SSE state (Intel SDM Vol. 1 §10.5 and §13.4). */
import { cr0At, cr4At, effectiveAddressSlot, mxcsrAt, registersAt, x87RegistersAt, xcr0At, xmmAt } from "../layout.ts";
import { field, helperResult } from "../operations.ts";
import type { Helper, ProcessorCore } from "../processor-interface.ts";
import { X87Unit } from "./x87-unit.ts";

/** The bits of XCR0 that are implemented: x87 and SSE. */
export const supportedXcr0 = 0b11n;
/** Bytes of an XSAVE area with these: legacy region and header (CPUID leaf 0xd). */
const xsaveAreaSize = 576;
/** MXCSR bits that may be set. */
export const mxcsrMask = 0xffff;
/** MXCSR after reset and INIT-state restore. */
const mxcsrDefault = 0x1f80;

const x87Component = 1n;
const sseComponent = 2n;

/** Offsets in the legacy region. */
const at = {
  control: 0,
  status: 2,
  tags: 4,
  opcode: 6,
  instructionPointer: 8,
  dataPointer: 16,
  mxcsr: 24,
  mxcsrMask: 28,
  x87: 32,
  xmm: 160,
  header: 512,
} as const;

/** An image to work on, under all the widths that it is read and written by. */
const scratch = ((): { u8: Uint8Array; u16: Uint16Array; u32: Uint32Array; u64: BigUint64Array } => {
  const buffer = new ArrayBuffer(xsaveAreaSize);
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    u64: new BigUint64Array(buffer),
  };
})();

/** Pointers of the narrow form are 32 bits wide; the selectors behind them are deprecated: zero. */
function pointer(value: bigint, pointers64: boolean): bigint {
  return pointers64 ? value : BigInt.asUintN(32, value);
}

/** Writes x87's part of the scratch image. */
function writeX87(unit: X87Unit, pointers64: boolean): void {
  const { u16, u32, u64 } = scratch;
  const { core } = unit.processor;
  u16[at.control >> 1] = unit.control;
  u16[at.status >> 1] = unit.status;
  u16[at.tags >> 1] = unit.abridgedTags;
  u16[at.opcode >> 1] = unit.opcode;
  u64[at.instructionPointer >> 3] = pointer(unit.instructionPointer, pointers64);
  u64[at.dataPointer >> 3] = pointer(unit.dataPointer, pointers64);
  const { top } = unit;
  for (let index = 0; index < 8; index++) {
    const from = (x87RegistersAt >> 2) + 4 * ((top + index) & 7);
    const to = (at.x87 >> 2) + 4 * index;
    u32[to] = core.u32[from] as number;
    u32[to + 1] = core.u32[from + 1] as number;
    u32[to + 2] = (core.u32[from + 2] as number) & 0xffff;
    u32[to + 3] = 0;
  }
}

/** Takes x87's part of the scratch image. */
function readX87(unit: X87Unit, pointers64: boolean): void {
  const { u8, u16, u32, u64 } = scratch;
  const { core } = unit.processor;
  unit.control = ((u16[at.control >> 1] as number) & 0x1f3f) | 0x40;
  unit.status = u16[at.status >> 1] as number;
  unit.opcode = (u16[at.opcode >> 1] as number) & 0x7ff;
  unit.instructionPointer = pointer(u64[at.instructionPointer >> 3] as bigint, pointers64);
  unit.dataPointer = pointer(u64[at.dataPointer >> 3] as bigint, pointers64);
  const { top } = unit;
  for (let index = 0; index < 8; index++) {
    const from = (at.x87 >> 2) + 4 * index;
    const to = (x87RegistersAt >> 2) + 4 * ((top + index) & 7);
    core.u32[to] = u32[from] as number;
    core.u32[to + 1] = u32[from + 1] as number;
    core.u32[to + 2] = (u32[from + 2] as number) & 0xffff;
  }
  unit.abridgedTags = u8[at.tags] as number;
  unit.summarize();
}

function initializeX87(unit: X87Unit): void {
  unit.initialize();
  unit.processor.core.u8.fill(0, x87RegistersAt, x87RegistersAt + 128);
}

function writeSse(processor: ProcessorCore, length: number): void {
  const { core } = processor;
  scratch.u32[at.mxcsr >> 2] = core.u32[mxcsrAt >> 2] as number;
  scratch.u32[at.mxcsrMask >> 2] = mxcsrMask;
  scratch.u8.set(core.u8.subarray(xmmAt, xmmAt + length), at.xmm);
}

/** XMM registers that instructions can name in the current mode. */
function xmmBytes(processor: ProcessorCore): number {
  return processor.mode.long ? 256 : 128;
}

function operandAddress(processor: ProcessorCore, alignment: bigint): bigint {
  const address = processor.core.u64[effectiveAddressSlot >> 3] as bigint;
  if (address % alignment !== 0n) processor.raise(13, 0);
  return address;
}

/** #NM of FXSAVE and FXRSTOR (emulation or task switched), of XSAVE and XRSTOR (task switched only). */
function checkAvailable(processor: ProcessorCore, mask: bigint): void {
  if ((processor.core.u64[cr0At >> 3] as bigint) & mask) processor.raise(7);
}

const emulationOrTaskSwitched = 0b1100n;
const taskSwitched = 0b1000n;
const osXsave = 1n << 18n;

export function saveFxHelper(unit: X87Unit): Helper {
  const { processor } = unit;
  return (operation) => {
    checkAvailable(processor, emulationOrTaskSwitched);
    const address = operandAddress(processor, 16n);
    const length = xmmBytes(processor);
    writeX87(unit, processor.core.u8[operation + field.scale] === 8);
    writeSse(processor, length);
    processor.linear.writeBytes(address, scratch.u8.subarray(0, at.xmm + length));
    return helperResult.next;
  };
}

export function restoreFxHelper(unit: X87Unit): Helper {
  const { processor } = unit;
  return (operation) => {
    checkAvailable(processor, emulationOrTaskSwitched);
    const address = operandAddress(processor, 16n);
    scratch.u8.set(processor.linear.readBytes(address, 512));
    const mxcsr = scratch.u32[at.mxcsr >> 2] as number;
    if (mxcsr & ~mxcsrMask) processor.raise(13, 0);
    readX87(unit, processor.core.u8[operation + field.scale] === 8);
    processor.core.u32[mxcsrAt >> 2] = mxcsr;
    processor.core.u8.set(scratch.u8.subarray(at.xmm, at.xmm + xmmBytes(processor)), xmmAt);
    return helperResult.next;
  };
}

/** The state components that EDX:EAX and XCR0 select; #UD and #NM. */
function requestedComponents(processor: ProcessorCore): bigint {
  const { u64, u32 } = processor.core;
  if (!((u64[cr4At >> 3] as bigint) & osXsave)) processor.raise(6);
  checkAvailable(processor, taskSwitched);
  const low = BigInt(u32[registersAt >> 2] as number);
  const high = BigInt(u32[(registersAt + 16) >> 2] as number);
  return (u64[xcr0At >> 3] as bigint) & (low | (high << 32n));
}

/** XSAVE, and XSAVEOPT: all components count as in use and modified, which is one of the permitted behaviours. */
export function saveExtendedHelper(unit: X87Unit): Helper {
  const { processor } = unit;
  return (operation) => {
    const requested = requestedComponents(processor);
    const address = operandAddress(processor, 64n);
    const { linear } = processor;
    scratch.u8.set(linear.readBytes(address, xsaveAreaSize));
    scratch.u64[at.header >> 3] = (scratch.u64[at.header >> 3] as bigint) | requested;
    if (requested & x87Component) writeX87(unit, processor.core.u8[operation + field.scale] === 8);
    if (requested & sseComponent) writeSse(processor, xmmBytes(processor));
    linear.writeBytes(address, scratch.u8.subarray(0, at.header + 8));
    return helperResult.next;
  };
}

export function restoreExtendedHelper(unit: X87Unit): Helper {
  const { processor } = unit;
  return (operation) => {
    const requested = requestedComponents(processor);
    const address = operandAddress(processor, 64n);
    const { linear, core } = processor;
    scratch.u8.set(linear.readBytes(address, xsaveAreaSize));
    const present = scratch.u64[at.header >> 3] as bigint;
    if (present & ~(core.u64[xcr0At >> 3] as bigint)) processor.raise(13, 0);
    // XCOMP_BV and the reserved rest: the compacted form is one that this processor lacks.
    for (let word = (at.header + 8) >> 2; word < xsaveAreaSize >> 2; word++) {
      if (scratch.u32[word] !== 0) processor.raise(13, 0);
    }
    const mxcsr = scratch.u32[at.mxcsr >> 2] as number;
    if (requested & sseComponent && mxcsr & ~mxcsrMask) processor.raise(13, 0);
    if (requested & x87Component) {
      if (present & x87Component) readX87(unit, core.u8[operation + field.scale] === 8);
      else initializeX87(unit);
    }
    if (requested & sseComponent) {
      core.u32[mxcsrAt >> 2] = mxcsr;
      const length = xmmBytes(processor);
      if (present & sseComponent) core.u8.set(scratch.u8.subarray(at.xmm, at.xmm + length), xmmAt);
      else core.u8.fill(0, xmmAt, xmmAt + length);
    }
    return helperResult.next;
  };
}

export function loadMxcsrHelper(processor: ProcessorCore): Helper {
  return () => {
    const value = Number(processor.linear.read(processor.core.u64[effectiveAddressSlot >> 3] as bigint, 4));
    if (value & ~mxcsrMask) processor.raise(13, 0);
    processor.core.u32[mxcsrAt >> 2] = value;
    return helperResult.next;
  };
}

export function storeMxcsrHelper(processor: ProcessorCore): Helper {
  return () => {
    const address = processor.core.u64[effectiveAddressSlot >> 3] as bigint;
    processor.linear.write(address, 4, BigInt(processor.core.u32[mxcsrAt >> 2] as number));
    return helperResult.next;
  };
}

/** All of x87, MMX and SSE state as an XSAVE area in standard form (with 64-bit pointers): for a checkpoint. */
export function saveXsaveImage(processor: ProcessorCore): Uint8Array {
  scratch.u8.fill(0);
  writeX87(new X87Unit(processor), true);
  writeSse(processor, 256);
  scratch.u64[at.header >> 3] = supportedXcr0;
  const image = new Uint8Array(4096);
  image.set(scratch.u8);
  return image;
}

/** The inverse; components that the area's header does not name are initialized, as XRSTOR would do it. */
export function restoreXsaveImage(processor: ProcessorCore, image: Uint8Array): void {
  const unit = new X87Unit(processor);
  scratch.u8.set(image.subarray(0, xsaveAreaSize));
  const present = scratch.u64[at.header >> 3] as bigint;
  if (present & x87Component) readX87(unit, true);
  else initializeX87(unit);
  const { u8, u32 } = processor.core;
  u32[mxcsrAt >> 2] = present & sseComponent ? (scratch.u32[at.mxcsr >> 2] as number) & mxcsrMask : mxcsrDefault;
  if (present & sseComponent) u8.set(scratch.u8.subarray(at.xmm, at.xmm + 256), xmmAt);
  else u8.fill(0, xmmAt, xmmAt + 256);
}

/** The state after power-up (Intel SDM Vol. 3A, table 9-1). After INIT nothing changes. */
export function resetFloat(processor: ProcessorCore): void {
  const unit = new X87Unit(processor);
  initializeX87(unit);
  unit.control = 0x40;
  unit.tags = 0x5555;
  processor.core.u32[mxcsrAt >> 2] = mxcsrDefault;
  processor.core.u8.fill(0, xmmAt, xmmAt + 256);
}
