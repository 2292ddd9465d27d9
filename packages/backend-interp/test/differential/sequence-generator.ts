import { codeSize, pageSize } from "./address-space.ts";
import type { HostFacts } from "./comparison.ts";
import type { FastRandom } from "./fast-random.ts";
import { type Bitness, type Form, instructionForms, type Place, type Unit } from "./instruction-forms.ts";
import {
  type Effects,
  InstructionWriter,
  noEffects,
  type Operands,
  type RegisterOperand,
} from "./instruction-writer.ts";
import { type Address, randomAddress } from "./memory-operand.ts";
import { randomCell, randomExtended, randomWord } from "./operand-pool.ts";
import { RegisterContents } from "./register-contents.ts";
import { arithmeticFlags, mediaAt, mediaSize, type Sequence } from "./sequence.ts";
import { structures } from "./structures.ts";

/** How much of each unit a sequence has: most stay with one or two units. */
const profiles: readonly (readonly [weight: number, mix: Readonly<Record<Unit, number>>])[] = [
  [50, { integer: 90, string: 10, vector: 0, mmx: 0, x87: 0 }],
  [22, { integer: 25, string: 1, vector: 74, mmx: 0, x87: 0 }],
  [10, { integer: 25, string: 1, vector: 0, mmx: 0, x87: 74 }],
  [8, { integer: 25, string: 1, vector: 4, mmx: 70, x87: 0 }],
  [10, { integer: 50, string: 4, vector: 24, mmx: 11, x87: 11 }],
];

const rax = 0;
const rcx = 1;
const rdx = 2;
const rbx = 3;
const rsi = 6;
const rdi = 7;

/** Forms of one mode by unit and mnemonic, so that a mnemonic with many forms comes no more often than others. */
type Catalogue = Readonly<Record<Unit, readonly (readonly Form[])[]>>;

function catalogueOf(forms: readonly Form[]): Catalogue {
  const units = { integer: [], string: [], vector: [], mmx: [], x87: [] } satisfies Record<Unit, Form[][]> as Record<
    Unit,
    Form[][]
  >;
  for (const unit of Object.keys(units) as Unit[]) {
    units[unit] = [
      ...Map.groupBy(
        forms.filter((form) => form.unit === unit),
        (form) => form.mnemonic,
      ).values(),
    ];
  }
  return units;
}

/** Overrides of a string's source. NOTE: at the end of a flat SS there is #SS. */
const segments = { 32: [0x26, 0x2e, 0x3e], 64: [0x65, 0x26, 0x2e, 0x36, 0x3e] } as const;
const shifts: ReadonlySet<string> = new Set(["Shl", "Sal", "Shr", "Sar"]);
const rotates: ReadonlySet<string> = new Set(["Rol", "Ror", "Rcl", "Rcr"]);
const carry = 1;
const adjust = 0x10;
const overflow = 0x800;

/** Makes random sequences. The same random numbers make the same sequences. */
export class SequenceGenerator {
  readonly random: FastRandom;
  /** iced-x86's codes of the instructions in sequences. */
  readonly codes: ReadonlySet<number>;
  /** Also what other makers' processors may do differently. */
  readonly isAmd: boolean;
  readonly #catalogues: Readonly<Record<Bitness, Catalogue>>;
  bitness: Bitness = 64;
  writer: InstructionWriter;
  registers: RegisterContents;
  /** Flags that are undefined at this point. */
  tainted = 0;
  /** Registers that must keep their value, as bits. */
  reserved = 0;
  #mix: Readonly<Record<Unit, number>> = { integer: 1, string: 0, vector: 0, mmx: 0, x87: 0 };

  readonly #executes32: boolean;

  constructor(random: FastRandom, { isAmd, executes32 }: HostFacts) {
    this.random = random;
    this.isAmd = isAmd;
    this.#executes32 = executes32;
    // What x87 instructions leave undefined in the status word differs between makers.
    const portable = (form: Form) => isAmd || !/^(Fnstsw|Fldcw|Arpl)$/.test(form.mnemonic);
    const forms = { 32: instructionForms(32).filter(portable), 64: instructionForms(64).filter(portable) };
    this.#catalogues = { 32: catalogueOf(forms[32]), 64: catalogueOf(forms[64]) };
    this.codes = new Set([...forms[32], ...forms[64]].map(({ code }) => code));
    this.writer = new InstructionWriter(random, 0);
    this.registers = new RegisterContents(random, 64, new Uint32Array(32));
  }

  next(): Sequence {
    const { random } = this;
    this.bitness = random.chance(0.8) || !this.#executes32 ? 64 : 32;
    this.#mix = this.#pickProfile();
    const registers = new Uint32Array(32);
    this.registers = new RegisterContents(random, this.bitness, registers);
    if (this.bitness === 32) for (let register = 0; register < 16; register++) registers[2 * register + 1] = 0;
    const codeOffset = random.chance(0.4) ? pageSize - random.between(1, 200) : random.below(2 * pageSize - codeSize);
    const writer = new InstructionWriter(random, codeOffset);
    this.writer = writer;
    this.tainted = 0;
    this.reserved = 0;
    const steps = random.between(3, 30);
    for (let step = 0; step < steps && writer.length < codeSize - 160; step++) this.step();
    writer.group++;
    writer.bytes.set([0x0f, 0x0b], writer.length);
    return {
      bitness: this.bitness,
      codeOffset,
      code: writer.bytes.slice(0, writer.length + 2),
      items: writer.items,
      registers,
      flags: 0x202 | (random.u32() & (arithmeticFlags | (random.chance(0.15) ? 0x400 : 0))),
      media: this.#media(),
    };
  }

  #pickProfile(): Readonly<Record<Unit, number>> {
    let die = this.random.below(100);
    for (const [weight, mix] of profiles) {
      die -= weight;
      if (die < 0) return mix;
    }
    return (profiles[0] as (typeof profiles)[number])[1];
  }

  #media(): Uint8Array {
    const { random } = this;
    const words = new Uint32Array(mediaSize / 4);
    const media = new Uint8Array(words.buffer);
    const view = new DataView(words.buffer);
    const masked = !this.isAmd || random.chance(0.9) ? 0x3f : random.below(0x40);
    view.setUint16(mediaAt.control, masked | 0x40 | (random.below(4) << 10) | (random.pick([0, 2, 3, 3]) << 8), true);
    view.setUint16(mediaAt.status, random.below(8) << 11, true);
    media[mediaAt.tags] = random.chance(0.6) ? 0xff : random.below(256);
    const vectorMasks = random.chance(0.92) ? 0x1f80 : random.below(64) << 7;
    const control = random.chance(0.6)
      ? 0
      : (random.below(4) << 13) | (random.chance(0.3) ? 0x8000 : 0) | (random.chance(0.3) ? 0x40 : 0);
    view.setUint32(mediaAt.mxcsr, vectorMasks | control | (random.chance(0.2) ? random.below(64) : 0), true);
    for (let index = 0; index < 8; index++) randomExtended(random, words, (mediaAt.stack >> 2) + 4 * index);
    for (let index = 0; index < 16; index++) randomCell(random, words, (mediaAt.xmm >> 2) + 4 * index);
    return media;
  }

  /** Writes one instruction, or a small structure of several. */
  step(): void {
    this.writer.group++;
    if (this.random.chance(0.28)) this.random.pick(structures)(this);
    else this.plain();
  }

  /** Writes an instruction that is neither a jump nor the stack's, with what has to come before it. */
  plain(accept: (form: Form) => boolean = () => true): void {
    for (let attempt = 0; attempt < 50; attempt++) {
      const form = this.#pickForm();
      if (accept(form) && this.#tryForm(form)) return;
    }
    this.writer.raw(noEffects, 0x90);
  }

  #pickForm(): Form {
    const { random } = this;
    let die = random.below(100);
    let unit: Unit = "integer";
    for (const [candidate, weight] of Object.entries(this.#mix) as [Unit, number][]) {
      die -= weight;
      if (die < 0) {
        unit = candidate;
        break;
      }
    }
    return random.pick(random.pick(this.#catalogues[this.bitness][unit]));
  }

  /** Flags that an instruction is going to read become defined: by a comparison, if they are not. */
  define(flags: number): void {
    if ((flags & this.tainted) === 0) return;
    const { writer, random } = this;
    const { group } = writer;
    writer.group = group + 1000;
    const effects = { flagsRead: 0, flagsWritten: arithmeticFlags, flagsUndefined: 0 };
    const modRm = 0xc0 | random.below(64);
    if (this.bitness === 64 && random.chance(0.5)) writer.raw(effects, 0x48 | (random.below(2) << 2), 0x39, modRm);
    else writer.raw(effects, random.pick([0x38, 0x39, 0x3b]), modRm);
    writer.group = group;
    this.tainted = 0;
  }

  apply(effects: Effects): Effects {
    this.tainted = (this.tainted & ~effects.flagsWritten) | effects.flagsUndefined;
    return effects;
  }

  /** MOV of an address into a register. */
  makePointer(register: number, kind: "low" | "high"): void {
    const { writer, registers } = this;
    const [low, high] = registers.value(kind);
    const bytes = [low, low >> 8, low >> 16, low >> 24].map((byte) => byte & 0xff);
    if (kind === "low") {
      writer.raw(noEffects, ...(register >= 8 ? [0x41] : []), 0xb8 | (register & 7), ...bytes);
    } else {
      const upper = [high, high >> 8, 0, 0].map((byte) => byte & 0xff);
      writer.raw(noEffects, register >= 8 ? 0x49 : 0x48, 0xb8 | (register & 7), ...bytes, ...upper);
    }
    registers.set(register, kind);
  }

  /** A memory operand; a register gets an address before if none has one. */
  address(size: number): Address {
    const { random, registers } = this;
    const found = randomAddress(random, this.bitness, registers, size);
    if (found !== undefined) return found;
    this.makePointer(registers.destination(this.reserved | 0b10), "low");
    return randomAddress(random, this.bitness, registers, size) ?? this.address(size);
  }

  #tryForm(form: Form): boolean {
    const { random, writer } = this;
    const written = (form.flagsRead | form.flagsWritten | form.flagsUndefined) !== 0;
    if (written && this.reserved !== 0 && form.unit === "string") return false;
    if (this.reserved !== 0 && /^(Maskmov|Pcmp.stri|Sh[lr]d)/.test(form.mnemonic)) return false;
    this.define(form.flagsRead);
    const effects = this.#effectsOf(form);
    const prefixes: number[] = [];
    if (form.repeat !== "none") {
      if (!this.#prepareString(form, prefixes)) return false;
      // The segment of the source; GS leads elsewhere.
      if (random.chance(0.06)) prefixes.push(random.pick(segments[this.bitness]));
      writer.form(form, { prefixes }, this.apply(stringEffects(form, prefixes)), false);
      return true;
    }
    const operands = this.#operands(form);
    // What is not allowed to be written in the code segment is refused after ARPL's read, and after a pending #MF.
    const refusedLater = form.mnemonic === "Arpl" || form.unit === "x87" || form.unit === "mmx";
    if (refusedLater && operands.address?.prefixes.includes(0x2e) === true) return false;
    const immediate = operands.immediate?.[0];
    this.#prepare(form, operands);
    const plainRex = this.bitness === 64 && random.chance(0.04) && !usesHighByte(operands);
    const lockable = form.lock && operands.address !== undefined;
    const locked = lockable ? random.chance(0.15) : form.lock && random.chance(0.003);
    const refined = immediate === undefined ? effects : refineByCount(form, immediate, effects);
    writer.form(form, locked ? { ...operands, prefixes: [0xf0] } : operands, this.apply(refined), plainRex);
    this.#noteWrites(form, operands);
    return true;
  }

  #effectsOf(form: Form): Effects {
    const { flagsRead, flagsWritten, flagsUndefined, mnemonic } = form;
    const byRegister =
      form.places.some(({ at }) => at === "implied") && !form.places.some(({ at }) => at === "immediate");
    if (shifts.has(mnemonic) || rotates.has(mnemonic)) {
      // One encoding shifts by 1; with CL a count of zero leaves the flags alone, and any other makes OF undefined.
      if (form.opcode[0] === 0xd0 || form.opcode[0] === 0xd1) return { flagsRead, flagsWritten, flagsUndefined };
      const narrow = shifts.has(mnemonic) && mnemonic !== "Sar" && narrowOf(form);
      return {
        flagsRead,
        flagsWritten: 0,
        flagsUndefined: overflow | (shifts.has(mnemonic) ? adjust : 0) | (narrow ? carry : 0),
      };
    }
    if ((mnemonic === "Shld" || mnemonic === "Shrd") && byRegister) {
      return { flagsRead, flagsWritten: 0, flagsUndefined: overflow | adjust };
    }
    return { flagsRead, flagsWritten, flagsUndefined };
  }

  /** REP, its count, and addresses in RSI and RDI. False: the registers are not free. */
  #prepareString(form: Form, prefixes: number[]): boolean {
    const { random, registers, writer } = this;
    if (this.reserved !== 0) return false;
    const narrow = form.prefixes.includes(0x67);
    if (narrow && this.bitness === 32) return false;
    for (const register of [rsi, rdi]) {
      const content = registers.of(register);
      const good = content === "low" || (content === "high" && !narrow);
      if (!good && random.chance(0.9)) this.makePointer(register, narrow ? "low" : registers.pointerKind());
    }
    if (random.chance(0.6)) {
      if (random.chance(0.9)) {
        const count = random.chance(0.9) ? random.below(50) : random.below(3000);
        writer.raw(noEffects, 0xb9, count & 0xff, count >> 8, 0, 0);
        registers.set(rcx, "small");
      }
      prefixes.push(random.chance(0.6) ? 0xf3 : 0xf2);
      if (form.repeat === "conditional") this.define(arithmeticFlags);
    }
    return true;
  }

  #register(place: Place & { readonly size: number }, asDestination: boolean): RegisterOperand {
    const { random, registers } = this;
    const number = asDestination ? registers.destination(this.reserved) : random.below(registers.count);
    if (place.size !== 1) return { number };
    if (this.bitness === 32) {
      const low = number & 3;
      return { number: ((this.reserved >> low) & 1) === 0 ? low : (low + 1) & 3, high: random.chance(0.4) };
    }
    if (number < 4) return { number, high: random.chance(0.35) };
    return { number, newByte: true };
  }

  #pickRegister(
    place: Place & { readonly size: number; readonly file: string },
    asDestination: boolean,
  ): RegisterOperand {
    switch (place.file) {
      case "general":
        return this.#register(place, asDestination);
      case "segment":
        return { number: this.random.below(6) };
      case "xmm":
        return { number: this.random.below(this.bitness === 64 ? 16 : 8) };
      default:
        return { number: this.random.below(8) };
    }
  }

  #operands(form: Form): Operands {
    const { random } = this;
    const exchanges = form.mnemonic === "Xchg" || form.mnemonic === "Xadd" || form.mnemonic === "Cmpxchg";
    let reg: RegisterOperand | undefined;
    let rm: RegisterOperand | undefined;
    let opcode: RegisterOperand | undefined;
    let address: Address | undefined;
    const immediate: number[] = [];
    for (const [index, place] of form.places.entries()) {
      const asDestination = (index === 0 && form.writes) || exchanges;
      if (place.at === "reg") reg = this.#pickRegister(place, asDestination);
      else if (place.at === "opcode") opcode = this.#pickRegister(place, asDestination);
      else if (place.at === "rm") {
        if (place.memory && (!place.register || random.chance(0.5))) address = this.address(form.memorySize);
        else rm = this.#pickRegister(place, asDestination);
      } else if (place.at === "immediate") {
        const value = randomWord(random);
        for (let byte = 0; byte < place.size; byte++) {
          immediate.push(byte < 4 ? (value >>> (8 * byte)) & 0xff : random.below(256));
        }
      } else if (place.at === "offset") {
        immediate.push(...this.#offset(form));
      }
    }
    // What 16 bits shifted by more than 16 give is undefined.
    if ((form.mnemonic === "Shld" || form.mnemonic === "Shrd") && form.size === 2 && immediate.length === 1) {
      immediate[0] = (immediate[0] as number) & 0xef;
    }
    if (
      usesHighByte({ reg, rm, opcode }) &&
      (form.wide || wantsRex(reg) || wantsRex(rm) || address?.rexX || address?.rexB)
    ) {
      reg = lowByte(reg);
      rm = lowByte(rm);
      opcode = lowByte(opcode);
    }
    return {
      ...(reg === undefined ? {} : { reg }),
      ...(rm === undefined ? {} : { rm }),
      ...(opcode === undefined ? {} : { opcode }),
      ...(address === undefined ? {} : { address }),
      immediate,
    };
  }

  /** The address in MOV AL, [moffs] and the like. */
  #offset(form: Form): number[] {
    const { random } = this;
    const narrow = form.prefixes.includes(0x67);
    const size = this.bitness === 64 ? (narrow ? 4 : 8) : narrow ? 2 : 4;
    const [low, high] =
      size === 8 ? this.registers.value(random.chance(0.5) ? "low" : "high") : this.registers.value("low");
    const bytes = [low, low >> 8, low >> 16, low >> 24, high, high >> 8, 0, 0].map((byte) => byte & 0xff);
    return bytes.slice(0, size);
  }

  /** Instructions before the one that make it meaningful, or its result defined; they may change an immediate. */
  #prepare(form: Form, operands: Operands): void {
    const { random, writer, registers } = this;
    const { mnemonic } = form;
    const size = form.places.reduce((found, place) => (found === 0 && place.at === "rm" ? place.size : found), 0);
    if (this.reserved !== 0) return;
    if ((mnemonic === "Div" || mnemonic === "Idiv") && random.chance(0.7)) {
      const signed = mnemonic === "Idiv";
      const logical = this.apply({ flagsRead: 0, flagsWritten: arithmeticFlags & ~adjust, flagsUndefined: adjust });
      if (size === 1) writer.raw(noEffects, 0x0f, signed ? 0xbe : 0xb6, 0xc0);
      else if (signed) writer.raw(noEffects, ...(size === 2 ? [0x66] : size === 8 ? [0x48] : []), 0x99);
      else writer.raw(logical, 0x31, 0xd2);
      registers.set(rax, "data");
      registers.set(rdx, "data");
      return;
    }
    if ((mnemonic === "Bsf" || mnemonic === "Bsr") && form.size === 4) {
      // The upper half of the destination is not the same everywhere if the source is zero.
      const effects = this.apply({ flagsRead: 0, flagsWritten: arithmeticFlags & ~adjust, flagsUndefined: adjust });
      if (operands.rm !== undefined) {
        const { number } = operands.rm;
        writer.raw(effects, ...(number >= 8 ? [0x41] : []), 0x83, 0xc8 | (number & 7), 1 << random.below(7));
      }
      return;
    }
    if ((mnemonic === "Shld" || mnemonic === "Shrd") && form.size === 2 && operands.immediate?.length === 0) {
      const effects = this.apply({ flagsRead: 0, flagsWritten: arithmeticFlags & ~adjust, flagsUndefined: adjust });
      writer.raw(effects, 0x80, 0xe1, 0x0f);
      return;
    }
    if (mnemonic === "Xlatb" && !isPointer(registers.of(rbx)) && random.chance(0.9)) this.makePointer(rbx, "low");
    // What a mask of zeros at an address that faults does is up to the processor.
    if (mnemonic.startsWith("Maskmov")) this.makePointer(rdi, "low");
  }

  #noteWrites(form: Form, operands: Operands): void {
    const { registers } = this;
    const mark = (operand: RegisterOperand | undefined): void => {
      if (operand !== undefined && operand.number < registers.count) registers.set(operand.number, "data");
    };
    form.places.forEach((place, index) => {
      const exchanged = form.mnemonic === "Xchg" || form.mnemonic === "Xadd" || form.mnemonic === "Cmpxchg";
      if (!("file" in place) || place.file !== "general" || !((index === 0 && form.writes) || exchanged)) return;
      if (place.at === "reg") mark(operands.reg);
      else if (place.at === "opcode") mark(operands.opcode);
      else if (place.at === "rm" && operands.address === undefined) mark(operands.rm);
    });
    if (
      /^(Mul|Imul|Div|Idiv|Cbw|Cwde|Cdqe|Cwd|Cdq|Cqo|Cmpxchg\w*|Lahf|Xlatb|Fnstsw|Aa[ads]|Aam|Da[as]|Salc|Mov|Xchg)$/.test(
        form.mnemonic,
      )
    ) {
      registers.set(rax, "data");
      if (/^(Mul|Imul|Div|Idiv|Cwd|Cdq|Cqo|Cmpxchg\d+b)$/.test(form.mnemonic)) registers.set(rdx, "data");
    }
    if (/^Pcmp.stri/.test(form.mnemonic)) registers.set(rcx, "small");
  }
}

const isPointer = (content: string): boolean => content === "low" || content === "high";
const usesHighByte = ({
  reg,
  rm,
  opcode,
}:
  | Pick<Operands, "reg" | "rm" | "opcode">
  | {
      reg: RegisterOperand | undefined;
      rm: RegisterOperand | undefined;
      opcode: RegisterOperand | undefined;
    }): boolean => reg?.high === true || rm?.high === true || opcode?.high === true;
const wantsRex = (operand: RegisterOperand | undefined): boolean =>
  operand !== undefined && (operand.number >= 8 || operand.newByte === true);
const lowByte = (operand: RegisterOperand | undefined): RegisterOperand | undefined =>
  operand?.high === true ? { number: operand.number } : operand;

/** Operands of 8 or 16 bits, for which a count can be larger than the width. */
const narrowOf = (form: Form): boolean => form.places.some((place) => place.at === "rm" && place.size <= 2);

/** What a shift by a constant does to the flags. */
function refineByCount(form: Form, immediate: number, effects: Effects): Effects {
  const { mnemonic, flagsRead } = form;
  const isDouble = mnemonic === "Shld" || mnemonic === "Shrd";
  if (!isDouble && !shifts.has(mnemonic) && !rotates.has(mnemonic)) return effects;
  const place = form.places[0] as Place;
  const size = "size" in place ? place.size : 4;
  const count = immediate & (size === 8 ? 63 : 31);
  if (count === 0) return { flagsRead, flagsWritten: 0, flagsUndefined: 0 };
  const oneOnly = count === 1 ? 0 : overflow;
  if (rotates.has(mnemonic)) return { flagsRead, flagsWritten: 0, flagsUndefined: oneOnly };
  const beyond = count >= size * 8 && mnemonic !== "Sar" ? carry : 0;
  return { flagsRead, flagsWritten: arithmeticFlags, flagsUndefined: oneOnly | adjust | beyond };
}

/** A repeated comparison may end before its first step, and in the middle. */
function stringEffects(form: Form, prefixes: readonly number[]): Effects {
  const { flagsRead, flagsWritten } = form;
  if (form.repeat !== "conditional") return { flagsRead, flagsWritten: 0, flagsUndefined: 0 };
  return !prefixes.some((prefix) => prefix >= 0xf2)
    ? { flagsRead, flagsWritten, flagsUndefined: 0 }
    : { flagsRead, flagsWritten: 0, flagsUndefined: 0, interruptible: true };
}
