import {
  cr0At,
  effectiveAddressSlot,
  segmentField,
  segmentSize,
  segmentsAt,
  x87ControlAt,
  x87DataPointerAt,
  x87InstructionPointerAt,
  x87OpcodeAt,
  x87RegistersAt,
  x87StatusAt,
  x87TagAt,
} from "../layout.ts";
import { field } from "../operations.ts";
import type { ProcessorCore } from "../processor-interface.ts";
import {
  defaultNaN,
  type Float,
  FloatEnvironment,
  type FloatFormat,
  floatException,
  packExtended,
  precisionControlled,
  unpackExtended,
} from "./soft-float.ts";

/** Bits of the status word. */
export const statusBit = {
  stackFault: 0x40,
  errorSummary: 0x80,
  c0: 0x100,
  c1: 0x200,
  c2: 0x400,
  c3: 0x4000,
  busy: 0x8000,
} as const;
const conditionBits = statusBit.c0 | statusBit.c2 | statusBit.c3;
const topShift = 11;

const emulation = 1n << 2n;
const taskSwitched = 1n << 3n;
const monitorProcessor = 1n << 1n;
const numericError = 1n << 5n;

/** Value of a tag: the others are told apart only when the tag word is stored. */
const tagEmpty = 3;

/**
 * The x87 registers in the core memory, and what all x87 instructions have in common (Intel SDM Vol. 1 §8): the stack,
 * the exceptions and their masked and unmasked responses, the pointers to the last instruction.
 */
export class X87Unit {
  readonly processor: ProcessorCore;
  /** Rounding, masks and flags of the instruction that executes. */
  readonly environment = new FloatEnvironment();
  readonly #u16: Uint16Array;
  readonly #u64: BigUint64Array;

  constructor(processor: ProcessorCore) {
    this.processor = processor;
    this.#u16 = processor.core.u16;
    this.#u64 = processor.core.u64;
  }

  get control(): number {
    return this.#u16[x87ControlAt >> 1] as number;
  }
  set control(value: number) {
    this.#u16[x87ControlAt >> 1] = value;
  }
  get status(): number {
    return this.#u16[x87StatusAt >> 1] as number;
  }
  set status(value: number) {
    this.#u16[x87StatusAt >> 1] = value;
  }
  /** Two bits a physical register; 3 is empty, everything else is not. */
  get tags(): number {
    return this.#u16[x87TagAt >> 1] as number;
  }
  set tags(value: number) {
    this.#u16[x87TagAt >> 1] = value;
  }
  get top(): number {
    return (this.status >> topShift) & 7;
  }
  set top(value: number) {
    this.status = (this.status & ~(7 << topShift)) | ((value & 7) << topShift);
  }
  get opcode(): number {
    return this.#u16[x87OpcodeAt >> 1] as number;
  }
  set opcode(value: number) {
    this.#u16[x87OpcodeAt >> 1] = value;
  }
  get instructionPointer(): bigint {
    return this.#u64[x87InstructionPointerAt >> 3] as bigint;
  }
  set instructionPointer(value: bigint) {
    this.#u64[x87InstructionPointerAt >> 3] = value;
  }
  get dataPointer(): bigint {
    return this.#u64[x87DataPointerAt >> 3] as bigint;
  }
  set dataPointer(value: bigint) {
    this.#u64[x87DataPointerAt >> 3] = value;
  }
  get effectiveAddress(): bigint {
    return this.#u64[effectiveAddressSlot >> 3] as bigint;
  }
  /** Base of CS, by which real mode makes linear addresses of the pointers it stores. */
  get codeBase(): bigint {
    return this.#u64[(segmentsAt + segmentSize + segmentField.base) >> 3] as bigint;
  }

  /** Format of the results that precision control concerns. */
  get format(): FloatFormat {
    return precisionControlled[(this.control >> 8) & 3] as FloatFormat;
  }

  /** #NM if x87 instructions are to be emulated or the state belongs to another task. */
  checkAvailable(): void {
    if ((this.#u64[cr0At >> 3] as bigint) & (emulation | taskSwitched)) this.processor.raise(7);
  }

  /** #UD and #NM of MMX instructions. */
  checkMmxAvailable(): void {
    const cr0 = this.#u64[cr0At >> 3] as bigint;
    if (cr0 & emulation) this.processor.raise(6);
    if (cr0 & taskSwitched) this.processor.raise(7);
  }

  /**
   * #MF if an unmasked exception is pending. NOTE: with CR0.NE clear a PC reports it by IRQ 13 instead; no operating
   * system that runs here does so, and the exception stays pending.
   */
  checkPending(): void {
    if (this.status & statusBit.errorSummary && (this.#u64[cr0At >> 3] as bigint) & numericError) {
      this.processor.raise(16);
    }
  }

  /** WAIT: #NM only if CR0.MP and CR0.TS are both set. */
  wait(): void {
    const cr0 = this.#u64[cr0At >> 3] as bigint;
    if (cr0 & monitorProcessor && cr0 & taskSwitched) this.processor.raise(7);
    this.checkPending();
  }

  /** Notes where the instruction and its operand are. */
  recordPointers(operation: number, memory: boolean): void {
    const immediate = this.processor.core.u32[(operation + field.immediate) >> 2] as number;
    this.opcode = immediate & 0x7ff;
    this.instructionPointer = this.processor.instructionPointer(operation);
    if (memory) this.dataPointer = this.effectiveAddress;
  }

  /** Begins an arithmetic instruction: no flags yet, rounding and masks of the control word, C1 clear. */
  begin(): FloatEnvironment {
    const { environment, control } = this;
    environment.rounding = (control >> 10) & 3;
    environment.masks = control & 0x3f;
    environment.flags = 0;
    environment.roundedUp = false;
    this.status &= ~statusBit.c1;
    return environment;
  }

  /** Adds the exceptions of the environment to the status word; returns those that are unmasked. */
  settle(): number {
    const { flags, roundedUp } = this.environment;
    let status = this.status | flags;
    if (roundedUp) status |= statusBit.c1;
    const unmasked = flags & ~this.control & 0x3f;
    if (unmasked) status |= statusBit.errorSummary | statusBit.busy;
    this.status = status;
    return unmasked;
  }

  /**
   * As {@link settle}, for an instruction that stores its result in a register: true if an unmasked exception found
   * before computing forbids it; what computing would have raised is then not raised.
   */
  settleEarly(): boolean {
    const early = floatException.invalid | floatException.denormal | floatException.zeroDivide;
    const { environment } = this;
    if (environment.flags & early & ~environment.masks) {
      environment.flags &= early;
      environment.roundedUp = false;
    }
    return (this.settle() & early) !== 0;
  }

  /** Stack overflow or underflow; true if masked: the caller then goes on with the default NaN. */
  stackFault(overflow: boolean): boolean {
    this.status =
      (this.status & ~statusBit.c1) | statusBit.stackFault | floatException.invalid | (overflow ? statusBit.c1 : 0);
    if (this.control & floatException.invalid) return true;
    this.status |= statusBit.errorSummary | statusBit.busy;
    return false;
  }

  /** Makes the error summary follow from flags and masks, after either was loaded. */
  summarize(): void {
    const pending = this.status & ~this.control & 0x3f;
    const summary = statusBit.errorSummary | statusBit.busy;
    this.status = pending ? this.status | summary : this.status & ~summary;
  }

  #physical(index: number): number {
    return (this.top + index) & 7;
  }

  isEmpty(index: number): boolean {
    return ((this.tags >> (2 * this.#physical(index))) & 3) === tagEmpty;
  }

  /** ST(index) as it stands. */
  readRaw(index: number): [significand: bigint, signAndExponent: number] {
    const at = x87RegistersAt + 16 * this.#physical(index);
    return [this.#u64[at >> 3] as bigint, this.#u16[(at + 8) >> 1] as number];
  }

  writeRaw(index: number, significand: bigint, signAndExponent: number): void {
    const physical = this.#physical(index);
    const at = x87RegistersAt + 16 * physical;
    this.#u64[at >> 3] = significand;
    this.#u16[(at + 8) >> 1] = signAndExponent;
    this.tags &= ~(3 << (2 * physical));
  }

  read(index: number): Float {
    const at = x87RegistersAt + 16 * this.#physical(index);
    return unpackExtended(this.#u64[at >> 3] as bigint, this.#u16[(at + 8) >> 1] as number);
  }

  write(index: number, value: Float): void {
    const [significand, signAndExponent] = packExtended(value);
    this.writeRaw(index, significand, signAndExponent);
  }

  /** Makes room for a new ST(0). The caller writes it. */
  decrementTop(): void {
    this.top -= 1;
  }

  incrementTop(): void {
    this.top += 1;
  }

  free(index: number): void {
    this.tags |= tagEmpty << (2 * this.#physical(index));
  }

  pop(): void {
    this.free(0);
    this.incrementTop();
  }

  /** Pushes a value; false if the stack was full and the exception is unmasked. */
  push(value: Float): boolean {
    let pushed = value;
    if (!this.isEmpty(-1)) {
      if (!this.stackFault(true)) return false;
      pushed = defaultNaN;
    }
    this.decrementTop();
    this.write(0, pushed);
    return true;
  }

  /** C3, C2 and C0. */
  setConditions(bits: number): void {
    this.status = (this.status & ~conditionBits) | bits;
  }

  /** The tag word with the kinds of the registers that are not empty. */
  fullTags(): number {
    let tags = 0;
    for (let physical = 0; physical < 8; physical++) {
      const at = x87RegistersAt + 16 * physical;
      let tag = (this.tags >> (2 * physical)) & 3;
      if (tag !== tagEmpty) {
        const significand = this.#u64[at >> 3] as bigint;
        const exponent = (this.#u16[(at + 8) >> 1] as number) & 0x7fff;
        if (exponent === 0) tag = significand === 0n ? 1 : 2;
        else if (exponent === 0x7fff || significand >> 63n === 0n) tag = 2;
        else tag = 0;
      }
      tags |= tag << (2 * physical);
    }
    return tags;
  }

  /** One bit a register, set if it is not empty: the form of FXSAVE. */
  get abridgedTags(): number {
    let result = 0;
    for (let physical = 0; physical < 8; physical++) {
      if (((this.tags >> (2 * physical)) & 3) !== tagEmpty) result |= 1 << physical;
    }
    return result;
  }
  set abridgedTags(value: number) {
    let tags = 0;
    for (let physical = 0; physical < 8; physical++) {
      if (!((value >> physical) & 1)) tags |= tagEmpty << (2 * physical);
    }
    this.tags = tags;
  }

  /** FNINIT. */
  initialize(): void {
    this.control = 0x37f;
    this.status = 0;
    this.tags = 0xffff;
    this.opcode = 0;
    this.instructionPointer = 0n;
    this.dataPointer = 0n;
  }
}
