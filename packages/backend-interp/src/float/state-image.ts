/** FXSAVE, XSAVE and their counterparts: the memory image of x87, MMX and SSE state (Intel SDM Vol. 1 §10.5 and §13.4). */
import { cr0At, cr4At, effectiveAddressSlot, mxcsrAt, registersAt, x87RegistersAt, xcr0At, xmmAt } from "../layout.ts";
import { field, helperResult } from "../operations.ts";
import type { Helper, ProcessorCore } from "../processor-interface.ts";
import { X87Unit } from "./x87-unit.ts";

/** The bits of XCR0 that are implemented: x87 and SSE. */
export const supportedXcr0 = 0b11n;
/** Bytes of an XSAVE area with these: legacy region and header (CPUID leaf 0xd). */
export const xsaveAreaSize = 576;
/** MXCSR bits that may be set. */
export const mxcsrMask = 0xffff;
/** MXCSR after reset and INIT-state restore. */
export const mxcsrDefault = 0x1f80;

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

function writeX87(unit: X87Unit, image: Uint8Array, pointers64: boolean): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  view.setUint16(at.control, unit.control, true);
  view.setUint16(at.status, unit.status, true);
  view.setUint16(at.tags, unit.abridgedTags, true);
  view.setUint16(at.opcode, unit.opcode, true);
  // The selectors of the narrow form are deprecated: zero.
  view.setBigUint64(at.instructionPointer, BigInt.asUintN(pointers64 ? 64 : 32, unit.instructionPointer), true);
  view.setBigUint64(at.dataPointer, BigInt.asUintN(pointers64 ? 64 : 32, unit.dataPointer), true);
  for (let index = 0; index < 8; index++) {
    const [significand, signAndExponent] = unit.readRaw(index);
    view.setBigUint64(at.x87 + 16 * index, significand, true);
    view.setBigUint64(at.x87 + 16 * index + 8, BigInt(signAndExponent), true);
  }
}

function readX87(unit: X87Unit, image: Uint8Array, pointers64: boolean): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  unit.control = (view.getUint16(at.control, true) & 0x1f3f) | 0x40;
  unit.status = view.getUint16(at.status, true);
  unit.opcode = view.getUint16(at.opcode, true) & 0x7ff;
  unit.instructionPointer = BigInt.asUintN(pointers64 ? 64 : 32, view.getBigUint64(at.instructionPointer, true));
  unit.dataPointer = BigInt.asUintN(pointers64 ? 64 : 32, view.getBigUint64(at.dataPointer, true));
  for (let index = 0; index < 8; index++) {
    unit.writeRaw(index, view.getBigUint64(at.x87 + 16 * index, true), view.getUint16(at.x87 + 16 * index + 8, true));
  }
  unit.abridgedTags = image[at.tags] as number;
  unit.summarize();
}

function initializeX87(unit: X87Unit): void {
  unit.initialize();
  unit.processor.core.u8.fill(0, x87RegistersAt, x87RegistersAt + 128);
}

function mxcsrOf(image: Uint8Array): number {
  return new DataView(image.buffer, image.byteOffset, image.byteLength).getUint32(at.mxcsr, true);
}

function writeMxcsr(processor: ProcessorCore, image: Uint8Array): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  view.setUint32(at.mxcsr, processor.core.u32[mxcsrAt >> 2] as number, true);
  view.setUint32(at.mxcsrMask, mxcsrMask, true);
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
    const length = at.xmm + xmmBytes(processor);
    const image = new Uint8Array(length);
    writeX87(unit, image, processor.core.u8[operation + field.scale] === 8);
    writeMxcsr(processor, image);
    image.set(processor.core.u8.subarray(xmmAt, xmmAt + xmmBytes(processor)), at.xmm);
    processor.linear.writeBytes(address, image);
    return helperResult.next;
  };
}

export function restoreFxHelper(unit: X87Unit): Helper {
  const { processor } = unit;
  return (operation) => {
    checkAvailable(processor, emulationOrTaskSwitched);
    const address = operandAddress(processor, 16n);
    const image = processor.linear.readBytes(address, 512);
    const mxcsr = mxcsrOf(image);
    if (mxcsr & ~mxcsrMask) processor.raise(13, 0);
    readX87(unit, image, processor.core.u8[operation + field.scale] === 8);
    processor.core.u32[mxcsrAt >> 2] = mxcsr;
    processor.core.u8.set(image.subarray(at.xmm, at.xmm + xmmBytes(processor)), xmmAt);
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
    const image = linear.readBytes(address, xsaveAreaSize);
    const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
    view.setBigUint64(at.header, view.getBigUint64(at.header, true) | requested, true);
    if (requested & x87Component) writeX87(unit, image, processor.core.u8[operation + field.scale] === 8);
    if (requested & sseComponent) {
      writeMxcsr(processor, image);
      image.set(processor.core.u8.subarray(xmmAt, xmmAt + xmmBytes(processor)), at.xmm);
    }
    linear.writeBytes(address, image.subarray(0, at.header + 8));
    return helperResult.next;
  };
}

export function restoreExtendedHelper(unit: X87Unit): Helper {
  const { processor } = unit;
  return (operation) => {
    const requested = requestedComponents(processor);
    const address = operandAddress(processor, 64n);
    const { linear, core } = processor;
    const image = linear.readBytes(address, xsaveAreaSize);
    const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
    const present = view.getBigUint64(at.header, true);
    if (present & ~(core.u64[xcr0At >> 3] as bigint)) processor.raise(13, 0);
    // XCOMP_BV and the reserved rest: the compacted form is not implemented.
    if (image.subarray(at.header + 8, at.header + 64).some((byte) => byte !== 0)) processor.raise(13, 0);
    const mxcsr = mxcsrOf(image);
    if (requested & sseComponent && mxcsr & ~mxcsrMask) processor.raise(13, 0);
    if (requested & x87Component) {
      if (present & x87Component) readX87(unit, image, core.u8[operation + field.scale] === 8);
      else initializeX87(unit);
    }
    if (requested & sseComponent) {
      core.u32[mxcsrAt >> 2] = mxcsr;
      const length = xmmBytes(processor);
      if (present & sseComponent) core.u8.set(image.subarray(at.xmm, at.xmm + length), xmmAt);
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
  const image = new Uint8Array(4096);
  writeX87(new X87Unit(processor), image, true);
  writeMxcsr(processor, image);
  image.set(processor.core.u8.subarray(xmmAt, xmmAt + 256), at.xmm);
  new DataView(image.buffer).setBigUint64(at.header, supportedXcr0, true);
  return image;
}

/** The inverse; components that the area's header does not name are initialized, as XRSTOR would do it. */
export function restoreXsaveImage(processor: ProcessorCore, image: Uint8Array): void {
  const unit = new X87Unit(processor);
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const present = view.getBigUint64(at.header, true);
  if (present & x87Component) readX87(unit, image, true);
  else initializeX87(unit);
  processor.core.u32[mxcsrAt >> 2] = present & sseComponent ? mxcsrOf(image) & mxcsrMask : mxcsrDefault;
  if (present & sseComponent) processor.core.u8.set(image.subarray(at.xmm, at.xmm + 256), xmmAt);
  else processor.core.u8.fill(0, xmmAt, xmmAt + 256);
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
