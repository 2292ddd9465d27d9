import { restoreXsaveImage, saveXsaveImage } from "../../src/float/index.ts";
import { segment } from "../../src/system/architecture.ts";
import { makeGuest } from "./guest.ts";
import type { InstructionCase, InstructionOutcome } from "./native-instructions.ts";

const tablesAt = 0x1000;
const idtAt = 0x4000;
/** Handlers are jumps to themselves, one each 16 bytes: where RIP stays tells the vector. */
const handlersAt = 0x5000;
const stackAt = 0x7_0000;
const operandAt = 0x8_0000;
const codeAt = 0x10_0000;
const ramSize = 16 * 1024 * 1024;
/** Bytes of code for each case; they follow each other, so that no store to code is needed. */
const codeSize = 32;
/** JMP to itself. */
const stop = [0xeb, 0xfe];
/** An FXSAVE image is the first part of an XSAVE image, whose header says which components there are. */
const fxImageSize = 512;
const xsaveImageSize = 4096;
/** Signals of exceptions, as the host's kernel sends them. */
const signals: Readonly<Record<number, number>> = { 0: 8, 6: 4, 13: 11, 14: 11, 16: 8, 19: 8 };

const rdi = 7;
const rsp = 4;

/** Executes instruction cases in a guest: decoder, code cache, core and system together, in 64-bit mode at CPL 0. */
export class GuestInstructions {
  readonly #guest = makeGuest(ramSize);
  #next = codeAt;

  constructor() {
    const { processor, view, ram } = this.#guest;
    // Identity mapping with pages of 2 MiB.
    view.setBigUint64(tablesAt, BigInt(tablesAt + 0x1000) | 3n, true);
    view.setBigUint64(tablesAt + 0x1000, BigInt(tablesAt + 0x2000) | 3n, true);
    for (let page = 0; page < ramSize >> 21; page++) {
      view.setBigUint64(tablesAt + 0x2000 + page * 8, (BigInt(page) << 21n) | 0x83n, true);
    }
    // Interrupt gates, and a GDT whose second descriptor is 64-bit code.
    for (let vector = 0; vector < 32; vector++) {
      const handler = handlersAt + vector * 16;
      view.setUint16(idtAt + vector * 16, handler & 0xffff, true);
      view.setUint16(idtAt + vector * 16 + 2, 8, true);
      view.setUint16(idtAt + vector * 16 + 4, 0x8e00, true);
      view.setUint16(idtAt + vector * 16 + 6, handler >>> 16, true);
      ram.set(stop, handler);
    }
    const gdtAt = 0x6000;
    view.setBigUint64(gdtAt + 8, 0x00af_9b00_0000_ffffn, true);
    const { registers } = processor;
    registers.gdtr = { base: BigInt(gdtAt), limit: 15 };
    registers.idtr = { base: BigInt(idtAt), limit: 0x1ff };
    registers.cr3 = BigInt(tablesAt);
    registers.cr4 = 0x620;
    registers.efer = 0xd00;
    registers.cr0 = 0x8000_0033;
    const whole = { base: 0n, limit: 0xffff_ffff, unusable: false };
    registers.writeSegment(segment.cs, { ...whole, selector: 8, attributes: 0xa09b });
    for (const index of [segment.ss, segment.ds, segment.es]) {
      registers.writeSegment(index, { ...whole, selector: 16, attributes: 0xc093 });
    }
    processor.modeChanged();
  }

  run(item: InstructionCase): InstructionOutcome {
    const { processor, ram } = this.#guest;
    const { registers } = processor;
    const at = this.#next;
    this.#next += codeSize;
    if (this.#next > ramSize) throw new RangeError("too many cases for the guest's RAM");
    ram.set(item.code, at);
    ram.set(stop, at + item.code.length);
    ram.set(item.memory, operandAt);
    item.registers.forEach((value, index) => {
      registers.write(index, value);
    });
    registers.write(rdi, BigInt(operandAt));
    registers.write(rsp, BigInt(stackAt));
    const image = new Uint8Array(xsaveImageSize);
    image.set(item.image);
    image[fxImageSize] = 3;
    restoreXsaveImage(processor, image);
    processor.writeFlags(Number(item.flags) | 2);
    registers.rip = BigInt(at);
    processor.run(64);
    const end = Number(registers.rip);
    const vector = end >= handlersAt && end < handlersAt + 0x200 ? (end - handlersAt) / 16 : undefined;
    if (vector === undefined && end !== at + item.code.length) {
      throw new Error(`the guest stopped at ${end.toString(16)}, not behind ${at.toString(16)}`);
    }
    return {
      image: saveXsaveImage(processor).subarray(0, fxImageSize),
      memory: ram.slice(operandAt, operandAt + item.memory.length),
      registers: BigUint64Array.from([0, 1, 2, 3], (index) => registers.read(index)),
      flags: BigInt(processor.readFlags()),
      signal: vector === undefined ? 0 : (signals[vector] ?? -1),
    };
  }
}
