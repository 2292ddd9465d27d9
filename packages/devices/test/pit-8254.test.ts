import type { Device } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { Pit8254Model } from "../src/index.ts";

const frequency = 1_193_182;
/** The first nanosecond of a tick. */
const tick = (count: number): number => Math.ceil((count * 1e9) / frequency);

describe("pit-8254", () => {
  let context: FakeDeviceContext;
  let pit: Device;
  const read = (port: number): number => context.bus.ports.read(port, 1);
  const write = (port: number, ...values: number[]): void => {
    for (const value of values) context.bus.ports.write(port, 1, value);
  };
  const count = (port: number): number => read(port) | (read(port) << 8);
  const edges = (): number => context.interrupt(0).risingEdges;
  const at = (ticks: number): void => context.advance(tick(ticks) - context.clock.now());

  beforeEach(() => {
    context = new FakeDeviceContext();
    pit = new Pit8254Model().create(context);
  });

  it("interrupts at a fixed rate in mode 2, without drifting", () => {
    write(0x43, 0x34);
    write(0x40, 0xa9, 0x04);
    const before = edges();
    context.advance(10_000_000_000);
    // 1193 ticks a period.
    expect(edges() - before).toBe(Math.floor((10 * frequency) / 1193));
  });

  it("counts down in mode 2 and shows what was latched", () => {
    write(0x43, 0x34);
    write(0x40, 0xe8, 0x03);
    at(300);
    expect(count(0x40)).toBe(700);
    write(0x43, 0x00);
    at(400);
    expect(count(0x40)).toBe(700);
    expect(count(0x40)).toBe(600);
    at(1000);
    expect(count(0x40)).toBe(1000);
  });

  it("counts by two in mode 3, with a square wave", () => {
    write(0x43, 0xb6);
    write(0x61, 0x01);
    write(0x42, 0x64, 0x00);
    at(10);
    expect(count(0x42)).toBe(80);
    expect(read(0x61) & 0x20).toBe(0x20);
    at(60);
    expect(count(0x42)).toBe(80);
    expect(read(0x61) & 0x20).toBe(0);
    at(110);
    expect(read(0x61) & 0x20).toBe(0x20);
  });

  it("raises the interrupt once in mode 0, when the count has ended", () => {
    write(0x43, 0x30);
    write(0x40, 0x64, 0x00);
    expect(context.interrupt(0).level).toBe(false);
    at(99);
    expect(context.interrupt(0).level).toBe(false);
    at(100);
    expect(context.interrupt(0).level).toBe(true);
    at(1_000_000);
    expect(edges()).toBe(1);
    write(0x43, 0x30);
    expect(context.interrupt(0).level).toBe(false);
  });

  it("strobes once for each count written in mode 4, as a one-shot clock event", () => {
    write(0x43, 0x38);
    const before = edges();
    for (let shot = 1; shot <= 3; shot++) {
      write(0x40, 0xe8, 0x03);
      context.advance(tick(1100));
      expect(edges() - before).toBe(shot);
    }
  });

  it("stops channel 2 while its gate is low and tells the end at port 0x61", () => {
    write(0x61, 0x00);
    write(0x43, 0xb0);
    write(0x42, 0x10, 0x27);
    at(5000);
    expect(count(0x42)).toBe(10_000);
    write(0x61, 0x01);
    at(9000);
    expect(count(0x42)).toBe(6000);
    write(0x61, 0x00);
    at(20_000);
    expect(count(0x42)).toBe(6000);
    expect(read(0x61) & 0x20).toBe(0);
    write(0x61, 0x01);
    at(26_000);
    expect(read(0x61) & 0x20).toBe(0x20);
  });

  it("starts a one-shot in mode 1 when the gate rises", () => {
    write(0x43, 0xb2);
    write(0x42, 0x64, 0x00);
    expect(read(0x61) & 0x20).toBe(0x20);
    write(0x61, 0x01);
    expect(read(0x61) & 0x20).toBe(0);
    at(100);
    expect(read(0x61) & 0x20).toBe(0x20);
  });

  it("reads back status and count of several channels", () => {
    write(0x43, 0x34);
    write(0x40, 0x00, 0x10);
    at(16);
    write(0x43, 0xc2);
    expect(read(0x40)).toBe(0xb4);
    expect(count(0x40)).toBe(0x1000 - 16);
    write(0x43, 0x36);
    write(0x43, 0xe2);
    // Nothing is counted until the count is written.
    expect(read(0x40)).toBe(0xf6);
  });

  it("counts in decimal", () => {
    write(0x43, 0x35);
    write(0x40, 0x00, 0x10);
    at(1);
    expect(count(0x40)).toBe(0x0999);
  });

  it("toggles the refresh bit", () => {
    const seen = new Set<number>();
    for (let time = 0; time < 10; time++) {
      seen.add(read(0x61) & 0x10);
      context.advance(7_000);
    }
    expect([...seen].sort()).toEqual([0x00, 0x10]);
  });

  it("goes on at the same moments in another process", () => {
    write(0x43, 0x34);
    write(0x40, 0xa9, 0x04);
    context.advance(1_234_567);
    if (pit.checkpoint.kind !== "state") throw new Error("it has no state");
    const state = pit.checkpoint.save();
    const deadline = context.timers.nextDeadline();
    pit.reset();
    expect(context.timers.nextDeadline()).toBeUndefined();
    pit.checkpoint.restore(state);
    expect(context.timers.nextDeadline()).toBe(deadline);
  });
});
