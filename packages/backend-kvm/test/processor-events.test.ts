import { describe, expect, it } from "vitest";
import { type EventState, readEvents, writeEvents } from "../src/processor-events.ts";
import { normalizeXsave } from "../src/xsave-area.ts";

const none: EventState = {
  interruptShadow: 0,
  nmiMasked: false,
  nmiPending: false,
  pendingEvent: { valid: false, vector: 0, kind: 0, hasErrorCode: false, errorCode: 0 },
};

describe("events of a vCPU", () => {
  it.each([
    ["nothing", none],
    ["the shadow of STI", { ...none, interruptShadow: 1 }],
    ["the shadow of MOV SS", { ...none, interruptShadow: 2 }],
    ["an NMI that is handled, and another one", { ...none, nmiMasked: true, nmiPending: true }],
    [
      "an exception with an error code",
      { ...none, pendingEvent: { valid: true, vector: 14, kind: 3, hasErrorCode: true, errorCode: 7 } },
    ],
    [
      "an exception without",
      { ...none, pendingEvent: { valid: true, vector: 6, kind: 3, hasErrorCode: false, errorCode: 0 } },
    ],
    ["an NMI", { ...none, pendingEvent: { valid: true, vector: 2, kind: 2, hasErrorCode: false, errorCode: 0 } }],
    [
      "an external interrupt",
      { ...none, pendingEvent: { valid: true, vector: 0x30, kind: 0, hasErrorCode: false, errorCode: 0 } },
    ],
    [
      "a software interrupt",
      { ...none, pendingEvent: { valid: true, vector: 0x80, kind: 4, hasErrorCode: false, errorCode: 0 } },
    ],
  ])("are read as they were written: %s", (_what, state) => {
    expect(readEvents(writeEvents(state))).toEqual(state);
  });

  it("have their shadows where the kernel has them", () => {
    expect(writeEvents({ ...none, interruptShadow: 1 }).getUint8(11)).toBe(2);
    expect(writeEvents({ ...none, interruptShadow: 2 }).getUint8(11)).toBe(1);
  });
});

describe("the XSAVE area", () => {
  it("loses what the CPU model lacks and what the kernel notes in it", () => {
    const area = new DataView(new ArrayBuffer(4096));
    for (let at = 0; at < 4096; at++) area.setUint8(at, 0xaa);
    area.setBigUint64(512, 0b1110_0111n, true);
    const plain = normalizeXsave(area, 0b11n);
    const view = new DataView(plain.buffer);
    expect(view.getBigUint64(512, true)).toBe(3n);
    expect(view.getUint32(28, true)).toBe(0xffff);
    expect(plain.subarray(464, 512).every((byte) => byte === 0)).toBe(true);
    expect(plain.subarray(576).every((byte) => byte === 0)).toBe(true);
    expect(plain.subarray(32, 464).every((byte) => byte === 0xaa)).toBe(true);
    const avx = normalizeXsave(area, 0b111n);
    expect(avx.subarray(576, 832).every((byte) => byte === 0xaa)).toBe(true);
    expect(avx.subarray(832).every((byte) => byte === 0)).toBe(true);
  });
});
