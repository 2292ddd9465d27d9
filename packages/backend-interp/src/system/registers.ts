import {
  cr0At,
  cr2At,
  cr3At,
  cr4At,
  debugRegistersAt,
  eferAt,
  eflagsAt,
  gdtrAt,
  idtrAt,
  privilegeAt,
  registersAt,
  ripSlot,
  segmentField,
  segmentSize,
  segmentsAt,
} from "../layout.ts";
import type { CoreMemory } from "../processor-interface.ts";
import { attribute, efer, flag, privilegeShift, segment } from "./architecture.ts";

/** Hidden part of a segment register as it is loaded from a descriptor. */
export interface SegmentValue {
  readonly selector: number;
  readonly base: bigint;
  /** In bytes. */
  readonly limit: number;
  readonly attributes: number;
  readonly unusable: boolean;
}

/** The base address and limit of a descriptor table. */
export interface TableValue {
  readonly base: bigint;
  readonly limit: number;
}

/** LDTR and TR follow the six others in the core memory, so that one index reaches all of them. */
function segmentAddress(index: number): number {
  return segmentsAt + index * segmentSize;
}

/** The architectural registers in the core memory, by name. Nothing here checks or has side effects. */
export class Registers {
  readonly #core: CoreMemory;
  readonly #u32: Uint32Array;
  readonly #u64: BigUint64Array;

  constructor(core: CoreMemory) {
    this.#core = core;
    this.#u32 = core.u32;
    this.#u64 = core.u64;
  }

  read(index: number): bigint {
    return this.#u64[(registersAt >> 3) + index] as bigint;
  }
  write(index: number, value: bigint): void {
    this.#u64[(registersAt >> 3) + index] = value;
  }
  /** The low 32 bits. */
  low(index: number): number {
    return this.#u32[(registersAt >> 2) + index * 2] as number;
  }
  /** The high 32 bits. */
  high(index: number): number {
    return this.#u32[(registersAt >> 2) + index * 2 + 1] as number;
  }
  /** Writes 32 bits and clears the rest, as 64-bit mode does. */
  writeLow(index: number, value: number): void {
    this.#u32[(registersAt >> 2) + index * 2] = value;
    this.#u32[(registersAt >> 2) + index * 2 + 1] = 0;
  }
  /** Writes a part of the register: 1 (low byte) or 2 bytes leave the rest, 4 clear it. */
  writePart(index: number, size: number, value: bigint): void {
    const at = registersAt + index * 8;
    if (size === 8) this.#u64[at >> 3] = value;
    else if (size === 4) this.#u64[at >> 3] = BigInt.asUintN(32, value);
    else if (size === 2) this.#core.u16[at >> 1] = Number(value & 0xffffn);
    else this.#core.u8[at] = Number(value & 0xffn);
  }

  get rip(): bigint {
    return this.#u64[ripSlot >> 3] as bigint;
  }
  set rip(value: bigint) {
    this.#u64[ripSlot >> 3] = value;
  }

  /** RFLAGS without the lazy arithmetic bits: for IF, TF, IOPL, VM and the like. */
  get systemFlags(): number {
    return this.#u32[eflagsAt >> 2] as number;
  }
  set systemFlags(value: number) {
    this.#u32[eflagsAt >> 2] = value;
  }

  get cpl(): number {
    return this.#u32[privilegeAt >> 2] as number;
  }
  get ioPrivilege(): number {
    return (this.systemFlags >> 12) & 3;
  }
  get virtual8086(): boolean {
    return (this.systemFlags & flag.virtual8086) !== 0;
  }
  /** CR0.PE is set and EFLAGS.VM clear. */
  get protectedMode(): boolean {
    return (this.cr0 & 1) !== 0 && !this.virtual8086;
  }
  /** EFER.LMA. */
  get longMode(): boolean {
    return (this.efer & efer.longModeActive) !== 0;
  }
  /** 64-bit mode: long mode with CS.L. */
  get mode64(): boolean {
    return this.longMode && (this.segmentAttributes(segment.cs) & attribute.long) !== 0;
  }

  get cr0(): number {
    return this.#u32[cr0At >> 2] as number;
  }
  set cr0(value: number) {
    this.#u64[cr0At >> 3] = BigInt(value >>> 0);
  }
  get cr2(): bigint {
    return this.#u64[cr2At >> 3] as bigint;
  }
  set cr2(value: bigint) {
    this.#u64[cr2At >> 3] = value;
  }
  get cr3(): bigint {
    return this.#u64[cr3At >> 3] as bigint;
  }
  set cr3(value: bigint) {
    this.#u64[cr3At >> 3] = value;
  }
  get cr4(): number {
    return this.#u32[cr4At >> 2] as number;
  }
  set cr4(value: number) {
    this.#u64[cr4At >> 3] = BigInt(value >>> 0);
  }
  get efer(): number {
    return this.#u32[eferAt >> 2] as number;
  }
  set efer(value: number) {
    this.#u64[eferAt >> 3] = BigInt(value >>> 0);
  }

  debug(index: number): bigint {
    return this.#u64[(debugRegistersAt >> 3) + index] as bigint;
  }
  setDebug(index: number, value: bigint): void {
    this.#u64[(debugRegistersAt >> 3) + index] = value;
  }

  selector(index: number): number {
    return this.#core.u16[(segmentAddress(index) + segmentField.selector) >> 1] as number;
  }
  segmentBase(index: number): bigint {
    return this.#u64[(segmentAddress(index) + segmentField.base) >> 3] as bigint;
  }
  setSegmentBase(index: number, value: bigint): void {
    this.#u64[(segmentAddress(index) + segmentField.base) >> 3] = value;
  }
  segmentLimit(index: number): number {
    return this.#u32[(segmentAddress(index) + segmentField.limit) >> 2] as number;
  }
  segmentAttributes(index: number): number {
    return this.#core.u16[(segmentAddress(index) + segmentField.attributes) >> 1] as number;
  }
  segmentUnusable(index: number): boolean {
    return this.#u32[(segmentAddress(index) + segmentField.unusable) >> 2] !== 0;
  }
  /** DPL in the hidden part. */
  segmentPrivilege(index: number): number {
    return (this.segmentAttributes(index) >> privilegeShift) & 3;
  }
  readSegment(index: number): SegmentValue {
    return {
      selector: this.selector(index),
      base: this.segmentBase(index),
      limit: this.segmentLimit(index),
      attributes: this.segmentAttributes(index),
      unusable: this.segmentUnusable(index),
    };
  }
  writeSegment(index: number, value: SegmentValue): void {
    const at = segmentAddress(index);
    this.#u64[(at + segmentField.base) >> 3] = value.base;
    this.#u32[(at + segmentField.limit) >> 2] = value.limit;
    this.#core.u16[(at + segmentField.attributes) >> 1] = value.attributes;
    this.#core.u16[(at + segmentField.selector) >> 1] = value.selector;
    this.#u32[(at + segmentField.unusable) >> 2] = value.unusable ? 1 : 0;
  }

  get gdtr(): TableValue {
    return this.#table(gdtrAt);
  }
  set gdtr(value: TableValue) {
    this.#setTable(gdtrAt, value);
  }
  get idtr(): TableValue {
    return this.#table(idtrAt);
  }
  set idtr(value: TableValue) {
    this.#setTable(idtrAt, value);
  }

  #table(at: number): TableValue {
    return { base: this.#u64[at >> 3] as bigint, limit: this.#u32[(at + 8) >> 2] as number };
  }
  #setTable(at: number, value: TableValue): void {
    this.#u64[at >> 3] = value.base;
    this.#u32[(at + 8) >> 2] = value.limit;
  }
}
