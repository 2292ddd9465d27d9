import { beforeEach, describe, expect, test } from "vitest";
import { floatHelpers, resetFloat, restoreXsaveImage, saveXsaveImage } from "../src/float/index.ts";
import {
  cr0At,
  cr4At,
  effectiveAddressSlot,
  mxcsrAt,
  registersAt,
  x87ControlAt,
  x87StatusAt,
  x87TagAt,
  xcr0At,
  xmmAt,
} from "../src/layout.ts";
import { field } from "../src/operations.ts";
import type { Helpers } from "../src/processor-interface.ts";
import { BareProcessor } from "./support/bare-processor.ts";
import { Random } from "./support/random.ts";
import { randomImage } from "./support/x87-cases.ts";

const operation = 0x10_0000;
const area = 0x1000;

let processor: BareProcessor;
let helpers: Helpers;

beforeEach(() => {
  processor = new BareProcessor();
  helpers = floatHelpers(processor);
  resetFloat(processor);
});

function call(name: keyof Helpers, address: number = area, scale = 8, immediate = 0): void {
  const { core } = processor;
  core.u64[effectiveAddressSlot >> 3] = BigInt(address);
  core.u8[operation + field.scale] = scale;
  core.u32[(operation + field.immediate) >> 2] = immediate;
  const helper = helpers[name];
  if (helper === undefined) throw new Error(`no helper ${name}`);
  helper(operation);
}

function faultOf(action: () => void): number | undefined {
  try {
    action();
  } catch (fault) {
    if (fault !== processor.fault) throw fault;
    return processor.fault.vector;
  }
  return undefined;
}

/** A full legacy region with random contents. */
function randomRegion(random: Random): Uint8Array {
  const image = randomImage(random);
  image.set(random.bytes(256), 160);
  return image.subarray(0, 416);
}

const request = (components: number): void => {
  processor.core.u64[registersAt >> 3] = BigInt(components);
  processor.core.u64[(registersAt >> 3) + 2] = 0n;
};

describe("FXSAVE and FXRSTOR", () => {
  test("what was restored is saved again", () => {
    const random = new Random(2);
    for (let round = 0; round < 20; round++) {
      const region = randomRegion(random);
      processor.memory.set(region, area);
      call("restore-fx");
      processor.memory.fill(0xee, 0x2000, 0x2200);
      call("save-fx", 0x2000);
      const saved = processor.memory.slice(0x2000, 0x2200);
      // MXCSR_MASK is the processor's.
      expect(new DataView(saved.buffer).getUint32(28, true)).toBe(0xffff);
      region.fill(0xff, 28, 30);
      expect(saved.subarray(0, 416)).toEqual(region);
      expect(new Set(saved.subarray(416))).toEqual(new Set([0xee]));
    }
  });

  test("an address that is not 16-aligned, or a reserved bit of MXCSR, is #GP, and nothing is restored", () => {
    processor.memory.set(randomRegion(new Random(3)), area);
    expect(faultOf(() => call("save-fx", area + 8))).toBe(13);
    new DataView(processor.memory.buffer).setUint32(area + 24, 0x1_0000, true);
    expect(faultOf(() => call("restore-fx"))).toBe(13);
    expect(processor.core.u16[x87ControlAt >> 1]).toBe(0x40);
  });

  test("CR0.TS and CR0.EM raise #NM", () => {
    for (const bit of [4n, 8n]) {
      processor.core.u64[cr0At >> 3] = 0x80000031n | bit;
      expect(faultOf(() => call("save-fx"))).toBe(7);
      expect(faultOf(() => call("x87-register", 0, 4, 0xd9e8))).toBe(7);
    }
  });

  test("outside 64-bit mode XMM8 to XMM15 are neither saved nor restored", () => {
    processor.memory.set(randomRegion(new Random(4)), area);
    call("restore-fx");
    processor.mode = { ...processor.mode, long: false };
    processor.memory.fill(0xee, 0x2000, 0x2200);
    call("save-fx", 0x2000);
    expect(processor.memory[0x2000 + 160 + 128]).toBe(0xee);
    const before = processor.core.u8.slice(xmmAt + 128, xmmAt + 256);
    processor.memory.fill(0, area + 160, area + 416);
    call("restore-fx");
    expect(processor.core.u8.slice(xmmAt + 128, xmmAt + 256)).toEqual(before);
    expect(processor.core.u64[xmmAt >> 3]).toBe(0n);
  });
});

describe("XSAVE and XRSTOR", () => {
  test("only what EDX:EAX and XCR0 select is saved; the header gains its bits", () => {
    processor.memory.set(randomRegion(new Random(5)), area);
    call("restore-fx");
    processor.memory.fill(0, 0x2000, 0x2240);
    request(2);
    call("save-extended", 0x2000);
    const view = new DataView(processor.memory.buffer);
    expect(view.getBigUint64(0x2200, true)).toBe(2n);
    expect(view.getUint16(0x2000, true)).toBe(0);
    expect(processor.memory.slice(0x2000 + 160, 0x2000 + 416)).toEqual(processor.core.u8.slice(xmmAt, xmmAt + 256));
    request(1);
    call("save-extended-optimized", 0x2000);
    expect(view.getBigUint64(0x2200, true)).toBe(3n);
    expect(view.getUint16(0x2000, true)).toBe(processor.core.u16[x87ControlAt >> 1]);
  });

  test("components that the header does not name are initialized", () => {
    processor.memory.set(randomRegion(new Random(6)), area);
    call("restore-fx");
    processor.memory.fill(0, 0x2000, 0x2240);
    new DataView(processor.memory.buffer).setUint32(0x2000 + 24, 0x1fa0, true);
    request(3);
    call("restore-extended", 0x2000);
    expect(processor.core.u16[x87ControlAt >> 1]).toBe(0x37f);
    expect(processor.core.u16[x87TagAt >> 1]).toBe(0xffff);
    expect(processor.core.u32[mxcsrAt >> 2]).toBe(0x1fa0);
    expect(processor.core.u8.slice(xmmAt, xmmAt + 256).every((byte) => byte === 0)).toBe(true);
  });

  test("a header with unknown or reserved bits is #GP; without CR4.OSXSAVE the instruction is undefined", () => {
    request(3);
    const view = new DataView(processor.memory.buffer);
    view.setBigUint64(0x2200, 4n, true);
    expect(faultOf(() => call("restore-extended", 0x2000))).toBe(13);
    view.setBigUint64(0x2200, 3n, true);
    view.setBigUint64(0x2208, 1n << 63n, true);
    expect(faultOf(() => call("restore-extended", 0x2000))).toBe(13);
    view.setBigUint64(0x2208, 0n, true);
    expect(faultOf(() => call("restore-extended", 0x2020))).toBe(13);
    processor.core.u64[xcr0At >> 3] = 1n;
    expect(faultOf(() => call("restore-extended", 0x2000))).toBe(13);
    processor.core.u64[cr4At >> 3] = 0x600n;
    expect(faultOf(() => call("save-extended", 0x2000))).toBe(6);
  });
});

describe("the image of a checkpoint", () => {
  test("holds all of the state", () => {
    processor.memory.set(randomRegion(new Random(8)), area);
    call("restore-fx");
    const image = saveXsaveImage(processor);
    expect(image).toHaveLength(4096);
    const other = new BareProcessor();
    restoreXsaveImage(other, image);
    expect(saveXsaveImage(other)).toEqual(image);
    expect(other.core.u8.slice(0x300, 0x600)).toEqual(processor.core.u8.slice(0x300, 0x600));
    expect(other.core.u32[mxcsrAt >> 2]).toBe(processor.core.u32[mxcsrAt >> 2]);
  });
});

describe("exceptions of x87", () => {
  const divideByZero = (): void => {
    call("x87-register", 0, 4, 0xdbe3);
    processor.core.u16[x87ControlAt >> 1] = 0x37b;
    call("x87-register", 0, 4, 0xd9e8);
    call("x87-register", 0, 4, 0xd9ee);
    call("x87-register", 0, 4, 0xdef9);
  };

  test("an unmasked one is reported by the next instruction that waits", () => {
    divideByZero();
    expect(processor.core.u16[x87StatusAt >> 1]).toBe(0x8084 | (6 << 11));
    expect(faultOf(() => call("wait"))).toBe(16);
    expect(faultOf(() => call("x87-register", 0, 4, 0xd9e8))).toBe(16);
    // FNSTSW and FNCLEX do not wait.
    call("x87-register", 0, 4, 0xdfe0);
    expect(processor.core.u16[registersAt >> 1]).toBe(0x8084 | (6 << 11));
    call("x87-register", 0, 4, 0xdbe2);
    expect(faultOf(() => call("wait"))).toBeUndefined();
  });

  test("WAIT looks at CR0.TS only together with CR0.MP", () => {
    processor.core.u64[cr0At >> 3] = 0x80000039n;
    expect(faultOf(() => call("wait"))).toBeUndefined();
    processor.core.u64[cr0At >> 3] = 0x8000003bn;
    expect(faultOf(() => call("wait"))).toBe(7);
  });

  test("the environment has four layouts", () => {
    const view = new DataView(processor.memory.buffer);
    divideByZero();
    call("x87-memory", 0x3000, 4, 0xd937);
    expect(view.getUint32(0x3000, true)).toBe(0xffff037b);
    expect(view.getUint32(0x3004, true)).toBe((0xffff8084 | (6 << 11)) >>> 0);
    expect(view.getUint32(0x3008, true)).toBe(0xffff1fff);
    expect(view.getUint32(0x300c, true)).toBe(0x400000);
    expect(view.getUint32(0x3010, true)).toBe(0x6f9 << 16);
    // FNSTENV masks all exceptions; FLDENV brings the masks and the pending exception back.
    expect(faultOf(() => call("wait"))).toBeUndefined();
    call("x87-memory", 0x3000, 4, 0xd927);
    expect(faultOf(() => call("wait"))).toBe(16);
    call("x87-memory", 0x3100, 2, 0xd937);
    expect(view.getUint16(0x3100, true)).toBe(0x37b);
    expect(view.getUint16(0x3104, true)).toBe(0x1fff);
    expect(view.getUint16(0x3106, true)).toBe(0x0000);
    expect(view.getUint16(0x3108, true)).toBe(0);
    processor.mode = { ...processor.mode, long: false, protectedMode: false };
    call("x87-memory", 0x3200, 2, 0xd937);
    expect(view.getUint16(0x3208, true)).toBe(0x6f9);
    call("x87-memory", 0x3300, 4, 0xd937);
    expect(view.getUint32(0x3310, true)).toBe((0x40 << 12) | 0x6f9);
  });

  test("FNSAVE initializes; FRSTOR brings the registers back", () => {
    call("x87-register", 0, 4, 0xdbe3);
    call("x87-register", 0, 4, 0xd9eb);
    call("x87-register", 0, 4, 0xd9e8);
    const before = saveXsaveImage(processor);
    call("x87-memory", 0x3000, 4, 0xdd37);
    expect(processor.core.u16[x87TagAt >> 1]).toBe(0xffff);
    call("x87-memory", 0x3000, 4, 0xdd27);
    const after = saveXsaveImage(processor);
    expect(after.subarray(0, 5)).toEqual(before.subarray(0, 5));
    expect(after.subarray(32, 64)).toEqual(before.subarray(32, 64));
  });
});
