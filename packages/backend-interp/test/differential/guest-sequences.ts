import { mxcsrAt, registersAt, x87ControlAt, x87RegistersAt, x87StatusAt, x87TagAt, xmmAt } from "../../src/layout.ts";
import { flag, segment } from "../../src/system/architecture.ts";
import { activity } from "../../src/system/processor.ts";
import { makeGuest } from "../support/guest.ts";
import { codeAt, codeInImage, gsBase, imagePages, imageSize, pageSize } from "./address-space.ts";
import { placeCode, removeCode } from "./image.ts";
import type { Bitness } from "./instruction-forms.ts";
import { mediaAt, mediaSize, type Outcome, type Sequence } from "./sequence.ts";

const ramSize = 16 * 1024 * 1024;
/** Where the image is in RAM. */
const imageAt = 0x10_0000;
const tablesAt = 0x1000;
/** More instructions than any sequence executes that ends. */
const mostInstructions = 100_000;
const pageFault = 14;

const descriptors = {
  code64: { selector: 0x33, base: 0n, limit: 0xffff_ffff, attributes: 0xa0fb, unusable: false },
  code32: { selector: 0x23, base: 0n, limit: 0xffff_ffff, attributes: 0xc0fb, unusable: false },
  none: { selector: 0, base: 0n, limit: 0, attributes: 0, unusable: true },
  data: { selector: 0x2b, base: 0n, limit: 0xffff_ffff, attributes: 0xc0f3, unusable: false },
} as const;

/**
 * Executes sequences in the interpreter: at CPL 3 in long mode, as they run under Linux, with the same pages at the same
 * linear addresses. Exceptions are caught where they would be delivered.
 */
export class GuestSequences {
  readonly #guest = makeGuest(ramSize);
  /** The image in RAM. */
  readonly memory: Uint8Array;
  #bitness: Bitness = 64;
  #nextTable = tablesAt + pageSize;
  #vector = 0;
  #errorCode = 0;

  constructor() {
    const { processor, ram } = this.#guest;
    const { registers } = processor;
    this.memory = ram.subarray(imageAt, imageAt + imageSize);
    imagePages.forEach((page, index) => {
      this.#map(page.linear, imageAt + index * pageSize, page.writable, page.executable);
    });
    registers.cr3 = BigInt(tablesAt);
    registers.cr4 = 0x6a0;
    registers.efer = 0xd01;
    registers.cr0 = 0x8005_0033;
    for (const index of [segment.ss, segment.ds, segment.es]) registers.writeSegment(index, descriptors.data);
    // No port is allowed: the task has no I/O permission map.
    registers.writeSegment(segment.tr, { selector: 0x40, base: 0n, limit: 0x60, attributes: 0x8b, unusable: false });
    registers.writeSegment(segment.cs, descriptors.code64);
    processor.setPrivilege(3);
    processor.modeChanged();
    processor.deliver = (vector, _kind, errorCode) => {
      this.#vector = vector;
      this.#errorCode = errorCode ?? 0;
      processor.activity = activity.halted;
    };
  }

  /** Enters a page in the page tables. */
  #map(linear: number, physical: number, writable: boolean, executable: boolean): void {
    const { view } = this.#guest;
    let table = tablesAt;
    for (const divisor of [2 ** 39, 2 ** 30, 2 ** 21]) {
      const entry = table + (Math.floor(linear / divisor) % 512) * 8;
      if (view.getUint32(entry, true) === 0) {
        view.setUint32(entry, this.#nextTable | 7, true);
        this.#nextTable += pageSize;
      }
      table = view.getUint32(entry, true) & ~0xfff;
    }
    const entry = table + (Math.floor(linear / pageSize) % 512) * 8;
    view.setUint32(entry, physical | 5 | (writable ? 2 : 0), true);
    view.setUint32(entry + 4, executable ? 0 : 0x8000_0000, true);
  }

  /** How many instructions the interpreter has executed so far. */
  get executed(): number {
    return this.#guest.processor.executed;
  }

  /**
   * Executes a sequence; {@link memory} is then as it left it, apart from its code, and is to be put right by the caller.
   * `stepwise`: one instruction at a time.
   */
  run(sequence: Sequence, stepwise: boolean): Outcome {
    const { processor } = this.#guest;
    const { registers, core } = processor;
    this.#prepare(sequence);
    if (stepwise) {
      let steps = 0;
      while (steps++ < mostInstructions && processor.step());
    } else processor.run(mostInstructions);
    return {
      vector: this.#vector,
      errorCode: this.#errorCode,
      faultAddress: this.#vector === pageFault ? registers.cr2 : 0n,
      rip: registers.rip,
      flags: processor.readFlags() & ~flag.resume,
      registers: core.u32.slice(registersAt >> 2, (registersAt >> 2) + 32),
      media: this.#readMedia(),
      endless: this.#vector < 0,
      systemCall: false,
    };
  }

  /** Executes a sequence one instruction at a time, with a look at where each is. */
  trace(sequence: Sequence, visit: (rip: number) => void): void {
    const { processor } = this.#guest;
    this.#prepare(sequence);
    for (let steps = 0; steps < mostInstructions && processor.activity === activity.running; steps++) {
      visit(Number(processor.registers.rip));
      processor.step();
    }
  }

  /** Puts code and registers where the sequence has them. */
  #prepare(sequence: Sequence): void {
    const { processor } = this.#guest;
    const { registers, core } = processor;
    // A sequence that jumped into the middle of its instructions may have loaded segment registers.
    registers.writeSegment(segment.fs, descriptors.none);
    registers.writeSegment(segment.gs, { ...descriptors.none, base: BigInt(gsBase) });
    if (sequence.bitness === 32 || this.#bitness === 32) {
      this.#bitness = sequence.bitness;
      for (const index of [segment.ds, segment.es]) registers.writeSegment(index, descriptors.data);
      registers.writeSegment(segment.cs, sequence.bitness === 64 ? descriptors.code64 : descriptors.code32);
      processor.modeChanged();
    }
    placeCode(this.memory, sequence.codeOffset, sequence.code);
    for (const at of codeInImage) processor.codePages.written((imageAt + at) / pageSize);
    core.u32.set(sequence.registers, registersAt >> 2);
    this.#loadMedia(sequence.media);
    processor.writeFlags(sequence.flags);
    registers.rip = BigInt(codeAt + sequence.codeOffset);
    registers.cr2 = 0n;
    this.#vector = -1;
    processor.activity = activity.running;
  }

  /** Takes the code of a sequence out of memory again. */
  remove(sequence: Sequence): void {
    removeCode(this.memory, sequence.codeOffset, sequence.code.length);
  }

  #loadMedia(media: Uint8Array): void {
    const { u8, u16, view } = this.#guest.processor.core;
    const from = new DataView(media.buffer, media.byteOffset);
    const status = from.getUint16(mediaAt.status, true);
    const control = from.getUint16(mediaAt.control, true);
    u16[x87ControlAt >> 1] = control;
    u16[x87StatusAt >> 1] = status;
    let tags = 0;
    for (let register = 0; register < 8; register++) {
      if ((((media[mediaAt.tags] as number) >> register) & 1) === 0) tags |= 3 << (2 * register);
      const physical = (register + (status >> 11)) & 7;
      const source = mediaAt.stack + 16 * register;
      u8.set(media.subarray(source, source + 10), x87RegistersAt + 16 * physical);
    }
    u16[x87TagAt >> 1] = tags;
    view.setUint32(mxcsrAt, from.getUint32(mediaAt.mxcsr, true), true);
    u8.set(media.subarray(mediaAt.xmm, mediaSize), xmmAt);
  }

  #readMedia(): Uint8Array {
    const { u8, u16, view } = this.#guest.processor.core;
    const media = new Uint8Array(mediaSize);
    const to = new DataView(media.buffer);
    const status = u16[x87StatusAt >> 1] as number;
    to.setUint16(mediaAt.control, u16[x87ControlAt >> 1] as number, true);
    to.setUint16(mediaAt.status, status, true);
    const tags = u16[x87TagAt >> 1] as number;
    for (let register = 0; register < 8; register++) {
      if (((tags >> (2 * register)) & 3) !== 3) media[mediaAt.tags] = (media[mediaAt.tags] as number) | (1 << register);
      const physical = (register + (status >> 11)) & 7;
      const source = x87RegistersAt + 16 * physical;
      media.set(u8.subarray(source, source + 10), mediaAt.stack + 16 * register);
    }
    to.setUint32(mediaAt.mxcsr, view.getUint32(mxcsrAt, true), true);
    media.set(u8.subarray(xmmAt, xmmAt + 256), mediaAt.xmm);
    return media;
  }
}
