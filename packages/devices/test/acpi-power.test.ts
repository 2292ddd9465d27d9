import type { Device, GeneralEvents, PowerButton, SleepControl } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { AcpiPowerModel } from "../src/index.ts";

const half = 2 ** 23;
const timerFrequency = 3_579_545;

describe("acpi-power", () => {
  let context: FakeDeviceContext;
  let power: Device & GeneralEvents & PowerButton & SleepControl;
  const read = (port: number, size: 1 | 2 | 4 = 2): number => context.bus.ports.read(port, size);
  const write = (port: number, value: number, size: 1 | 2 | 4 = 2): void => context.bus.ports.write(port, size, value);
  const asserted = (): boolean => context.interrupt(9).level;

  beforeEach(() => {
    context = new FakeDeviceContext({ properties: { port: 0x600 } });
    power = new AcpiPowerModel().create(context);
  });

  it("is always in ACPI mode", () => {
    expect(read(0x604)).toBe(1);
    write(0x604, 0);
    expect(read(0x604)).toBe(1);
  });

  it("tells of the power button by the SCI if the guest listens, until it clears the event", () => {
    power.pressPowerButton();
    expect(asserted()).toBe(false);
    expect(read(0x600)).toBe(0x0100);
    write(0x602, 0x0100);
    expect(asserted()).toBe(true);
    write(0x600, 0x0100);
    expect([asserted(), read(0x600)]).toEqual([false, 0]);
  });

  it("takes writes of single bytes and of both registers at once", () => {
    write(0x603, 0x01, 1);
    expect(read(0x602)).toBe(0x0100);
    power.pressPowerButton();
    write(0x601, 0x01, 1);
    expect(read(0x600, 4)).toBe(0x0100_0000);
    write(0x600, 0x0001_0000, 4);
    expect(read(0x600, 4)).toBe(0x0001_0000);
  });

  it("sleeps with sleep type 1, and says after that it has woken, until the guest clears that", () => {
    write(0x604, 1 << 10);
    expect(context.requests).toEqual([]);
    expect(read(0x600)).toBe(0);
    write(0x604, 0x2000 | (1 << 10));
    expect(context.requests).toEqual(["suspend"]);
    expect(read(0x600)).toBe(0x8000);
    expect(asserted()).toBe(false);
    write(0x600, 0x8000);
    expect(read(0x600)).toBe(0);
  });

  it("sleeps deeper with sleep type 3, which a copy knows, and says only after a reset that it has woken", () => {
    expect(power.sleepDepth).toBe("standby");
    write(0x604, 0x2000 | (3 << 10));
    expect(context.requests).toEqual(["suspend"]);
    expect([power.sleepDepth, read(0x600)]).toEqual(["memory", 0]);
    const copy = new AcpiPowerModel().create(new FakeDeviceContext({ properties: { port: 0x600 } }));
    if (power.checkpoint.kind !== "state" || copy.checkpoint.kind !== "state") throw new Error("no state");
    copy.checkpoint.restore(power.checkpoint.save());
    expect(copy.sleepDepth).toBe("memory");
    power.reset();
    power.noteWake();
    expect([read(0x600), read(0x604), asserted()]).toEqual([0x8000, 1, false]);
  });

  it("switches off with sleep type 5, and ignores those that it does not have", () => {
    write(0x604, 0x2000 | (2 << 10));
    write(0x604, 0x2000 | (4 << 10));
    write(0x604, 5 << 10);
    expect(context.requests).toEqual([]);
    write(0x604, 0x2000 | (5 << 10));
    expect(context.requests).toEqual(["shutdown"]);
    expect(read(0x604) & 0x2000).toBe(0);
    // In two halves, the way of byte-wide code.
    write(0x605, 0x34, 1);
    expect(context.requests).toHaveLength(2);
  });

  it("counts at 3.58 MHz in 24 bits, exactly", () => {
    context.advance(1_000_000_000);
    expect(read(0x608, 4)).toBe(timerFrequency);
    context.advance(9_000_000_000);
    expect(read(0x608, 4)).toBe((10 * timerFrequency) % (2 * half));
  });

  it("tells when the highest bit of the timer changes", () => {
    const period = Math.ceil((half * 1e9) / timerFrequency);
    context.clock.advance(period - 1);
    expect(read(0x600)).toBe(0);
    context.clock.advance(1);
    expect(read(0x600)).toBe(1);
    write(0x600, 1);
    write(0x602, 1);
    context.advance(period - 2);
    expect(asserted()).toBe(false);
    context.advance(2);
    expect(asserted()).toBe(true);
    expect(read(0x608, 4)).toBe(0);
  });

  it("has general purpose events for other devices, which are told by the SCI and cleared by the guest", () => {
    write(0x622, 0xffff);
    expect([read(0x620), read(0x622), asserted()]).toEqual([0, 0xffff, false]);
    power.raiseGeneralEvent(5);
    power.raiseGeneralEvent(12);
    expect([read(0x620), asserted()]).toEqual([0x1020, true]);
    write(0x620, 0x1000);
    expect([read(0x620), asserted()]).toEqual([0x0020, true]);
    write(0x622, 0xffdf);
    expect(asserted()).toBe(false);
  });

  it("restores a pressed button", () => {
    write(0x602, 0x0100);
    power.pressPowerButton();
    if (power.checkpoint.kind !== "state") throw new Error("it has no state");
    const state = power.checkpoint.save();
    power.reset();
    expect(asserted()).toBe(false);
    power.checkpoint.restore(state);
    expect(asserted()).toBe(true);
  });
});
