import type { Device } from "@cpr/core";
import { FakeDeviceContext, ManualClock } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { CmosRtcModel } from "../src/index.ts";

const second = 1_000_000_000;
/** A Sunday. */
const newYear = BigInt(Date.UTC(2023, 11, 31, 23, 59, 58)) * 1_000_000n;

describe("cmos-rtc", () => {
  let context: FakeDeviceContext;
  let rtc: Device;
  const read = (index: number): number => {
    context.bus.ports.write(0x70, 1, index);
    return context.bus.ports.read(0x71, 1);
  };
  const write = (index: number, value: number): void => {
    context.bus.ports.write(0x70, 1, index);
    context.bus.ports.write(0x71, 1, value);
  };
  /** Century, year, month, day, day of week, hours, minutes, seconds as registers hold them. */
  const time = (): string =>
    [0x32, 9, 8, 7, 6, 4, 2, 0].map((index) => read(index).toString(16).padStart(2, "0")).join(" ");
  const asserted = (): boolean => context.interrupt(8).level;

  beforeEach(() => {
    context = new FakeDeviceContext({ clock: new ManualClock(0, newYear) });
    rtc = new CmosRtcModel().create(context);
  });

  it("tells the host's time in UTC, and rolls over", () => {
    expect(time()).toBe("20 23 12 31 01 23 59 58");
    context.advance(2 * second);
    expect(time()).toBe("20 24 01 01 02 00 00 00");
  });

  it("codes it in binary and in twelve hours if asked", () => {
    write(0x0b, 0x04);
    expect(time()).toBe("14 17 0c 1f 01 8b 3b 3a");
    context.advance(2 * second);
    expect(time()).toBe("14 18 01 01 02 0c 00 00");
  });

  it("takes a time while it is stopped, and goes on from there", () => {
    write(0x0b, 0x82);
    for (const [index, value] of [
      [0x32, 0x19],
      [9, 0x99],
      [8, 0x02],
      [7, 0x28],
      [4, 0x23],
      [2, 0x59],
      [0, 0x59],
    ] as const) {
      write(index, value);
    }
    context.advance(10 * second);
    expect(read(0)).toBe(0x59);
    write(0x0b, 0x02);
    context.advance(second);
    expect(time()).toBe("19 99 03 01 02 00 00 00");
    rtc.reset();
    expect(time()).toBe("19 99 03 01 02 00 00 00");
  });

  it("interrupts when a second ends, until register C is read", () => {
    write(0x0b, 0x12);
    context.advance(second - 1);
    expect(asserted()).toBe(false);
    context.advance(1);
    expect(asserted()).toBe(true);
    expect(read(0x0c)).toBe(0x90);
    expect(asserted()).toBe(false);
    expect(read(0x0c)).toBe(0);
    context.advance(3 * second);
    expect(context.interrupt(8).risingEdges).toBe(2);
  });

  it("interrupts at the alarm, and not before", () => {
    write(0x05, 0x00);
    write(0x03, 0x01);
    write(0x01, 0x30);
    write(0x0b, 0x22);
    context.advance(91 * second);
    expect(asserted()).toBe(false);
    context.advance(second);
    expect(asserted()).toBe(true);
    expect(read(0x0c)).toBe(0xb0);
  });

  it("takes fields of the alarm that match any time", () => {
    write(0x05, 0xff);
    write(0x03, 0xc0);
    write(0x01, 0x10);
    write(0x0b, 0x22);
    context.advance(12 * second);
    expect(read(0x0c) & 0x20).toBe(0x20);
    context.advance(59 * second);
    expect(asserted()).toBe(false);
    context.advance(second);
    expect(asserted()).toBe(true);
  });

  it("sets the flags of what passed without an interrupt", () => {
    expect(read(0x0c)).toBe(0);
    context.clock.advance(second);
    expect(read(0x0c)).toBe(0x10);
  });

  it("interrupts at the periodic rate", () => {
    write(0x0a, 0x26); // 1024 Hz
    write(0x0b, 0x42);
    for (let passed = 1; passed <= 1024; passed++) {
      context.advance(Math.ceil((passed * second) / 1024) - context.clock.now());
      expect(read(0x0c) & 0x40).toBe(0x40);
    }
    expect(context.interrupt(8).risingEdges).toBe(1024);
  });

  it("warns of the update", () => {
    expect(read(0x0a)).toBe(0x26);
    context.advance(second - 244_000);
    expect(read(0x0a)).toBe(0xa6);
    context.advance(244_000);
    expect(read(0x0a)).toBe(0x26);
  });

  it("keeps its memory over a reset", () => {
    write(0x0f, 0x0a);
    write(0x7f, 0x55);
    rtc.reset();
    expect([read(0x0f), read(0x7f), read(0x0d)]).toEqual([0x0a, 0x55, 0x80]);
  });

  it("follows the wall clock over the time between two processes", () => {
    write(0x0b, 0x12);
    if (rtc.checkpoint.kind !== "state") throw new Error("it has no state");
    const state = rtc.checkpoint.save();
    context = new FakeDeviceContext({ clock: new ManualClock(0, newYear + 3_600_000_000_000n) });
    rtc = new CmosRtcModel().create(context);
    if (rtc.checkpoint.kind !== "state") throw new Error("it has no state");
    rtc.checkpoint.restore(state);
    context.advance(0);
    expect(asserted()).toBe(true);
    expect(time()).toBe("20 24 01 01 02 00 59 58");
  });
});
