import type { Device } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { I8042Model } from "../src/index.ts";

describe("i8042", () => {
  let context: FakeDeviceContext;
  let controller: Device;
  const status = (): number => context.bus.ports.read(0x64, 1);
  const command = (value: number): void => context.bus.ports.write(0x64, 1, value);
  const data = (value: number): void => context.bus.ports.write(0x60, 1, value);
  /** All bytes that wait. */
  const answers = (): number[] => {
    const bytes: number[] = [];
    while ((status() & 1) !== 0) bytes.push(context.bus.ports.read(0x60, 1));
    return bytes;
  };

  beforeEach(() => {
    context = new FakeDeviceContext();
    controller = new I8042Model().create(context);
  });

  it("passes its self test and the test of the keyboard's port; the auxiliary port is not there", () => {
    command(0xaa);
    expect(answers()).toEqual([0x55]);
    command(0xab);
    expect(answers()).toEqual([0x00]);
    command(0xa9);
    expect(answers()).toEqual([0x01]);
    // A byte looped back through the auxiliary port does not carry its mark, bit 5 of the status.
    command(0xd3);
    data(0x5a);
    expect(status() & 0x20).toBe(0);
    expect(answers()).toEqual([0x5a]);
  });

  it("keeps its memory, whose byte 0 is the command byte", () => {
    command(0x20);
    expect(answers()).toEqual([0x45]);
    command(0x60);
    data(0x74);
    command(0x20);
    expect(answers()).toEqual([0x74]);
    command(0xae);
    command(0x20);
    expect(answers()).toEqual([0x64]);
  });

  it("interrupts for every byte, if that is enabled", () => {
    data(0xf2);
    expect(context.interrupt(1).level).toBe(true);
    expect(answers()).toEqual([0xfa, 0xab, 0x83]);
    expect(context.interrupt(1).risingEdges).toBe(3);
    command(0x60);
    data(0x44);
    data(0xee);
    expect(context.interrupt(1).level).toBe(false);
    expect(answers()).toEqual([0xee]);
  });

  it("has a keyboard that takes its parameters and refuses what it does not know", () => {
    for (const byte of [0xed, 0x02, 0xf3, 0x00, 0xf0, 0x02, 0xf4, 0x77]) data(byte);
    expect(answers()).toEqual([0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfe]);
    data(0xf0);
    data(0x00);
    expect(answers()).toEqual([0xfa, 0xfa, 0x02]);
    data(0xff);
    expect(answers()).toEqual([0xfa, 0xaa]);
  });

  it("resets the machine by its output port and by a pulse, and not by other pulses", () => {
    command(0xff);
    command(0xd1);
    data(0xdf);
    expect(context.requests).toEqual([]);
    command(0xfe);
    command(0xd1);
    data(0xfe);
    expect(context.requests).toEqual(["reset", "reset"]);
  });

  it("reads back the A20 gate", () => {
    command(0xd1);
    data(0xdd);
    command(0xd0);
    expect(answers()).toEqual([0xdd]);
  });

  it("gives the last byte again when nothing waits, and restores what waits", () => {
    data(0xf2);
    if (controller.checkpoint.kind !== "state") throw new Error("it has no state");
    const state = controller.checkpoint.save();
    controller.reset();
    expect(answers()).toEqual([]);
    controller.checkpoint.restore(state);
    expect(answers()).toEqual([0xfa, 0xab, 0x83]);
    expect(context.bus.ports.read(0x60, 1)).toBe(0x83);
  });
});
