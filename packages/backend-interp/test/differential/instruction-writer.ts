import { codeAt, codeSize } from "./address-space.ts";
import type { FastRandom } from "./fast-random.ts";
import type { Form } from "./instruction-forms.ts";
import type { Address } from "./memory-operand.ts";
import type { Item } from "./sequence.ts";

/** A register as an operand: AH to BH are registers 0 to 3 with `high`. */
export interface RegisterOperand {
  readonly number: number;
  readonly high?: boolean;
  /** Needs REX to be named as a byte: SPL to DIL. */
  readonly newByte?: boolean;
}

/** The operands of an instruction. */
export interface Operands {
  readonly reg?: RegisterOperand;
  readonly rm?: RegisterOperand;
  readonly opcode?: RegisterOperand;
  readonly address?: Address;
  readonly immediate?: readonly number[];
  /** LOCK, REP, ... */
  readonly prefixes?: readonly number[];
}

export type Effects = Pick<Item, "flagsRead" | "flagsWritten" | "flagsUndefined"> & {
  readonly interruptible?: boolean;
};
export const noEffects: Effects = { flagsRead: 0, flagsWritten: 0, flagsUndefined: 0 };

const needsRex = (operand: RegisterOperand | undefined): boolean =>
  operand !== undefined && (operand.number >= 8 || operand.newByte === true);
const encoded = (operand: RegisterOperand, rex: boolean): number =>
  operand.high === true && !rex ? operand.number + 4 : operand.number;

/** The code of one sequence while it grows. */
export class InstructionWriter {
  readonly bytes = new Uint8Array(codeSize);
  readonly items: Item[] = [];
  length = 0;
  /** Group of what is written next. */
  group = 0;
  readonly #random: FastRandom;
  /** Linear address of the first byte. */
  readonly #origin: number;

  constructor(random: FastRandom, codeOffset: number) {
    this.#random = random;
    this.#origin = codeAt + codeOffset;
  }

  /** Writes an instruction as it is. */
  raw(effects: Effects, ...code: number[]): void {
    this.bytes.set(code, this.length);
    this.#finish(code.length, effects, undefined);
  }

  /** Writes a forward jump whose displacement of `size` bytes is at its end; the function returned sets the target: here. */
  jump(effects: Effects, size: 1 | 4, ...opcode: number[]): () => void {
    const { length } = this;
    this.bytes.set(opcode, length);
    const at = length + opcode.length;
    const index = this.items.length;
    this.#finish(opcode.length + size, effects, undefined);
    return () => {
      const distance = this.length - (at + size);
      for (let byte = 0; byte < size; byte++) this.bytes[at + byte] = (distance >> (8 * byte)) & 0xff;
      this.items[index] = { ...(this.items[index] as Item), target: this.length };
    };
  }

  /** Linear address of a place in the sequence. */
  addressOf(offset: number): number {
    return this.#origin + offset;
  }

  #finish(length: number, effects: Effects, target: number | undefined): void {
    const { flagsRead, flagsWritten, flagsUndefined, interruptible = false } = effects;
    this.items.push({
      offset: this.length,
      length,
      group: this.group,
      flagsRead,
      flagsWritten,
      flagsUndefined,
      target,
      interruptible,
    });
    this.length += length;
  }

  /** Writes a form with its operands. `plainRex`: with a REX prefix that says nothing, if none is needed. */
  form(form: Form, operands: Operands, effects: Effects, plainRex: boolean): void {
    const { reg, rm, opcode, address, immediate = [] } = operands;
    let rex = 0;
    if (form.wide) rex |= 0x48;
    if (needsRex(reg)) rex |= 0x40 | ((reg as RegisterOperand).number >= 8 ? 4 : 0);
    for (const operand of [rm, opcode]) {
      if (operand !== undefined && needsRex(operand)) rex |= 0x40 | (operand.number >= 8 ? 1 : 0);
    }
    if (address?.rexX === true) rex |= 0x42;
    if (address?.rexB === true) rex |= 0x41;
    if (plainRex && rex === 0) rex = 0x40;

    const { bytes } = this;
    const start = this.length;
    let at = start;
    const prefixes = [...form.prefixes];
    for (const prefix of [...(address?.prefixes ?? []), ...(operands.prefixes ?? [])]) {
      if (!prefixes.includes(prefix)) prefixes.splice(this.#random.below(prefixes.length + 1), 0, prefix);
    }
    for (const prefix of prefixes) bytes[at++] = prefix;
    if (rex !== 0) bytes[at++] = rex;
    for (const byte of form.opcode) bytes[at++] = byte;
    if (opcode !== undefined) bytes[at - 1] = (bytes[at - 1] as number) + (encoded(opcode, rex !== 0) & 7);
    if (form.hasModRm) {
      const middle = form.extension ?? (reg === undefined ? 0 : encoded(reg, rex !== 0));
      const low = address === undefined ? 0xc0 | ((rm === undefined ? 0 : encoded(rm, rex !== 0)) & 7) : address.modRm;
      bytes[at++] = low | ((middle & 7) << 3);
    }
    if (address !== undefined) {
      if (address.sib !== undefined) bytes[at++] = address.sib;
      const end = at + address.displacementSize + immediate.length;
      const value = address.relativeTo === undefined ? address.displacement : address.relativeTo - this.addressOf(end);
      for (let byte = 0; byte < address.displacementSize; byte++) bytes[at++] = (value >> (8 * byte)) & 0xff;
    }
    for (const byte of immediate) bytes[at++] = byte;
    this.#finish(at - start, effects, undefined);
  }
}
