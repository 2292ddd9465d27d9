import { describeProcessor } from "@cpr/core";
import { restoreProcessor, saveProcessor } from "../../src/system/processor-checkpoint.ts";
import { assemble, type CodeWidth } from "./assemble.ts";
import { type Guest, makeGuest } from "./guest.ts";

/** Where things are in the RAM of a {@link ProtectedGuest}. Code and stacks have pages of their own, all mapped one to one. */
export const place = {
  pageTables: 0x1000,
  /** 8-byte (4-byte without PAE) entries that map the first 2 MiB in pages of 4 KiB. */
  pageTable: 0x4000,
  gdt: 0x5000,
  idt: 0x6000,
  tss: 0x7000,
  /** The handler of vector n is HLT at `handlers + 8 * n`. */
  handlers: 0x8000,
  code: 0x1_0000,
  stack: 0x2_1000,
  interruptStack: 0x2_5000,
  innerStack: 0x2_9000,
  userCode: 0x3_0000,
  userStack: 0x4_1000,
  /** Pages for tests to play with. */
  data: 0x5_0000,
} as const;

/** Selectors of the GDT. */
export const selector = {
  code: 0x08,
  data: 0x10,
  userCode32: 0x18 | 3,
  userData: 0x20 | 3,
  userCode64: 0x28 | 3,
  tss: 0x30,
  /** Free for tests: 16 bytes each. */
  free: 0x40,
} as const;

/** Attributes of the segments: type, S, DPL, P, then AVL, L, D/B, G from bit 12 on. */
export const attributes = {
  code64: 0xa09b,
  code32: 0xc09b,
  data: 0xc093,
  userCode64: 0xa0fb,
  userCode32: 0xc0fb,
  userData: 0xc0f3,
  tss: 0x008b,
} as const;

/** A descriptor of a segment with base and limit 4 GiB (or as given, in bytes without granularity). */
export function descriptor(flags: number, base = 0, limit = 0xf_ffff): bigint {
  return (
    BigInt(limit & 0xffff) |
    (BigInt(base & 0xff_ffff) << 16n) |
    (BigInt(flags & 0xff) << 40n) |
    (BigInt((limit >>> 16) | ((flags >>> 8) & 0xf0)) << 48n) |
    (BigInt(base >>> 24) << 56n)
  );
}

/** Page table entry bits. */
export const page = {
  present: 1,
  writable: 2,
  user: 4,
  accessed: 0x20,
  dirty: 0x40,
  large: 0x80,
  global: 0x100,
} as const;

/** The frame that an exception has left: RIP, CS, RFLAGS, RSP, SS, behind an error code if there is one. */
export interface Frame {
  readonly vector: number;
  readonly errorCode: number | undefined;
  readonly rip: number;
  readonly cs: number;
  readonly flags: number;
  readonly rsp: number;
  readonly ss: number;
}

const withErrorCode = new Set([8, 10, 11, 12, 13, 14, 17]);

/** A guest in long mode or in 32-bit protected mode, at privilege 0, with paging on and a handler for each vector. */
export class ProtectedGuest {
  readonly guest: Guest;
  readonly width: 32 | 64;
  readonly #frameSize: 4 | 8;

  constructor(width: 32 | 64, guest: Guest = makeGuest()) {
    this.width = width;
    this.#frameSize = width === 64 ? 8 : 4;
    this.guest = guest;
    this.#writeTables();
    this.#start();
  }

  get processor() {
    return this.guest.processor;
  }
  get registers() {
    return this.guest.processor.registers;
  }

  #writeTables(): void {
    const { view, ram } = this.guest;
    const all = page.present | page.writable | page.user;
    if (this.width === 64) {
      view.setBigUint64(place.pageTables, 0x2000n | BigInt(all), true);
      view.setBigUint64(0x2000, 0x3000n | BigInt(all), true);
      view.setBigUint64(0x3000, BigInt(place.pageTable | all), true);
    } else {
      view.setUint32(place.pageTables, place.pageTable | all, true);
    }
    for (let address = 0; address < 0x20_0000; address += 0x1000) this.map(address, address | all);
    const descriptors = [
      0n,
      descriptor(this.width === 64 ? attributes.code64 : attributes.code32),
      descriptor(attributes.data),
      descriptor(attributes.userCode32),
      descriptor(attributes.userData),
      descriptor(attributes.userCode64),
      descriptor(attributes.tss, place.tss, 0x2fff),
      0n,
    ];
    descriptors.forEach((value, index) => {
      view.setBigUint64(place.gdt + index * 8, value, true);
    });
    for (let vector = 0; vector < 256; vector++) {
      ram.set([0xf4, 0xeb, 0xfd], place.handlers + vector * 8);
      this.gate(vector, { target: place.handlers + vector * 8 });
    }
    if (this.width === 64) {
      view.setBigUint64(place.tss + 4, BigInt(place.innerStack), true);
      view.setBigUint64(place.tss + 0x24, BigInt(place.interruptStack), true);
    } else {
      view.setUint32(place.tss + 4, place.innerStack, true);
      view.setUint32(place.tss + 8, selector.data, true);
    }
    // No I/O permission bitmap.
    view.setUint16(place.tss + 0x66, 0xffff, true);
  }

  /** Sets the page table entry of a linear address below 2 MiB. */
  map(address: number, entry: number | bigint): void {
    const index = address >>> 12;
    if (this.width === 64) this.guest.view.setBigUint64(place.pageTable + index * 8, BigInt(entry), true);
    else this.guest.view.setUint32(place.pageTable + index * 4, Number(entry), true);
    this.guest.processor.invalidatePage(BigInt(address));
  }

  entry(address: number): bigint {
    const index = address >>> 12;
    return this.width === 64
      ? this.guest.view.getBigUint64(place.pageTable + index * 8, true)
      : BigInt(this.guest.view.getUint32(place.pageTable + index * 4, true));
  }

  /** Sets a gate of the IDT: an interrupt gate (type 14) of privilege 0, unless told otherwise. */
  gate(
    vector: number,
    options: {
      readonly target: number;
      readonly type?: number;
      readonly privilege?: number;
      readonly stack?: number;
      readonly selector?: number;
    },
  ): void {
    const { target, type = 14, privilege = 0, stack = 0, selector: code = selector.code } = options;
    const { view } = this.guest;
    const at = place.idt + vector * (this.width === 64 ? 16 : 8);
    view.setUint32(at, (code << 16) | (target & 0xffff), true);
    view.setUint32(at + 4, (target & 0xffff_0000) | 0x8000 | (privilege << 13) | (type << 8) | stack, true);
    if (this.width === 64) view.setBigUint64(at + 8, 0n, true);
  }

  #start(): void {
    const state = saveProcessor(this.processor);
    const segment = (value: number, flags: number) => ({
      selector: value,
      base: 0n,
      limit: 0xffff_ffff,
      attributes: flags,
      unusable: false,
    });
    const data = segment(selector.data, attributes.data);
    const long = this.width === 64;
    const registers = Array<bigint>(16).fill(0n);
    registers[4] = BigInt(place.stack);
    restoreProcessor(this.processor, {
      ...state,
      registers,
      rip: BigInt(place.code),
      segments: [data, segment(selector.code, long ? attributes.code64 : attributes.code32), data, data, data, data],
      tr: {
        selector: selector.tss,
        base: BigInt(place.tss),
        limit: 0x2fff,
        attributes: attributes.tss,
        unusable: false,
      },
      ldtr: { selector: 0, base: 0n, limit: 0, attributes: 0, unusable: true },
      gdtr: { base: BigInt(place.gdt), limit: 0x7f },
      idtr: { base: BigInt(place.idt), limit: 0xfff },
      cr0: 0x8001_0031n,
      cr3: BigInt(place.pageTables),
      cr4: long ? 0x6b0n : 0x690n,
      efer: long ? 0xd01n : 0n,
    });
  }

  /** Puts code at an address; by default where the guest begins. */
  load(source: string, address: number = place.code, width: CodeWidth = this.width): this {
    this.guest.ram.set(assemble(width, address, source), address);
    this.processor.code.flush();
    return this;
  }

  /** Executes until HLT. */
  run(limit = 100_000): this {
    const outcome = this.processor.run(limit);
    if (outcome !== "idle")
      throw new Error(`the guest did not halt: ${outcome}\n${describeProcessor(saveProcessor(this.processor))}`);
    return this;
  }

  /** Goes on behind the HLT. */
  resume(limit?: number): this {
    this.processor.activity = 0;
    return this.run(limit);
  }

  /** The exception whose handler has halted. Its frame is at RSP. */
  get frame(): Frame {
    const { registers } = this;
    const vector = (Number(registers.rip) - 1 - place.handlers) / 8;
    if (!Number.isInteger(vector) || vector < 0 || vector > 255) {
      throw new Error(`no handler has halted, but RIP is 0x${registers.rip.toString(16)}`);
    }
    const size = this.#frameSize;
    const { view } = this.guest;
    let at = Number(registers.read(4));
    const next = (): number => {
      const value = size === 8 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
      at += size;
      return value;
    };
    const errorCode = withErrorCode.has(vector) ? next() : undefined;
    return { vector, errorCode, rip: next(), cs: next(), flags: next(), rsp: next(), ss: next() };
  }

  /** A program at privilege 3 that begins at {@link place}.userCode; the guest gets there by IRET. */
  loadUser(source: string, flags = 0x202): this {
    const long = this.width === 64;
    const code = long ? selector.userCode64 : selector.userCode32;
    const suffix = long ? "iretq" : "iretd";
    const segments = `mov ax, ${selector.userData}\n mov ds, ax\n mov es, ax\n`;
    this.load(long ? source : `${segments}${source}`, place.userCode);
    return this.load(`
      push ${selector.userData}
      push ${place.userStack}
      push ${flags}
      push ${code}
      push ${place.userCode}
      ${suffix}
    `);
  }
}
