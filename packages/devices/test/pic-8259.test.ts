import type { Device, ExternalInterrupts, InterruptController } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { Pic8259Model } from "../src/index.ts";

describe("pic-8259", () => {
  let context: FakeDeviceContext;
  let pic: Device & InterruptController & ExternalInterrupts;
  const read = (port: number): number => context.bus.ports.read(port, 1);
  const write = (port: number, ...values: number[]): void => {
    for (const value of values) context.bus.ports.write(port, 1, value);
  };
  const pulse = (pin: number): void => {
    pic.input(pin).set(true);
    pic.input(pin).set(false);
  };

  beforeEach(() => {
    context = new FakeDeviceContext();
    pic = new Pic8259Model().create(context);
    write(0x20, 0x11);
    write(0x21, 0x30, 0x04, 0x01);
    write(0xa0, 0x11);
    write(0xa1, 0x38, 0x02, 0x01);
  });

  it("gives the vector of the highest request first", () => {
    pulse(5);
    pulse(3);
    expect(pic.requested()).toBe(true);
    expect(pic.acknowledge()).toBe(0x33);
    // Input 5 waits until input 3 is done.
    expect(pic.requested()).toBe(false);
    write(0x20, 0x20);
    expect(pic.acknowledge()).toBe(0x35);
  });

  it("tells when INTR rises and falls", () => {
    const levels: boolean[] = [];
    pic.onChange = () => levels.push(pic.requested());
    pulse(1);
    pic.acknowledge();
    expect(levels).toEqual([true, false]);
  });

  it("brings the slave's inputs through input 2 and ends them in both chips", () => {
    pulse(12);
    pulse(14);
    expect(pic.acknowledge()).toBe(0x3c);
    write(0x20, 0x0b);
    expect(read(0x20)).toBe(0x04);
    write(0xa0, 0x20);
    write(0x20, 0x20);
    expect(pic.acknowledge()).toBe(0x3e);
  });

  it("masks inputs, and lets a request through that came while it was masked", () => {
    write(0x21, 0x10);
    pulse(4);
    expect(pic.requested()).toBe(false);
    expect(read(0x21)).toBe(0x10);
    write(0x21, 0x00);
    expect(pic.acknowledge()).toBe(0x34);
  });

  it("answers with input 7 and nothing in service when the request has gone", () => {
    write(0x4d0, 0x20);
    pic.input(5).set(true);
    expect(pic.requested()).toBe(true);
    pic.input(5).set(false);
    expect(pic.requested()).toBe(false);
    expect(pic.acknowledge()).toBe(0x37);
    write(0x20, 0x0b);
    expect(read(0x20)).toBe(0);
  });

  it("asks again for a level that stays", () => {
    write(0x4d1, 0x02);
    expect(read(0x4d1)).toBe(0x02);
    pic.input(9).set(true);
    expect(pic.acknowledge()).toBe(0x39);
    write(0xa0, 0x20);
    write(0x20, 0x20);
    expect(pic.requested()).toBe(true);
    pic.input(9).set(false);
    expect(pic.requested()).toBe(false);
  });

  it("keeps the timer, the keyboard and the cascade edge-triggered", () => {
    write(0x4d0, 0xff);
    write(0x4d1, 0xff);
    expect([read(0x4d0), read(0x4d1)]).toEqual([0xf8, 0xde]);
  });

  it("ends a specific interrupt, rotates, and ends by itself in automatic mode", () => {
    pulse(0);
    pic.acknowledge();
    write(0x20, 0xe0);
    // Now input 0 has the lowest priority.
    pulse(0);
    pulse(7);
    expect(pic.acknowledge()).toBe(0x37);
    write(0x20, 0x67);
    expect(pic.acknowledge()).toBe(0x30);
    write(0x20, 0x60);

    write(0x20, 0x11);
    write(0x21, 0x30, 0x04, 0x03);
    pulse(6);
    expect(pic.acknowledge()).toBe(0x36);
    write(0x20, 0x0b);
    expect(read(0x20)).toBe(0);
  });

  it("lets lower priorities in with special mask mode, but not what is in service", () => {
    pulse(2 + 1);
    pic.acknowledge();
    write(0x21, 0x08);
    write(0x20, 0x68);
    pulse(6);
    expect(pic.acknowledge()).toBe(0x36);
  });

  it("polls", () => {
    pulse(4);
    write(0x20, 0x0c);
    expect(read(0x20)).toBe(0x84);
    write(0x20, 0x0c);
    expect(read(0x20)).toBe(0x00);
  });

  it("does not ask before it is initialised in full", () => {
    write(0x20, 0x11);
    pulse(1);
    expect(pic.requested()).toBe(false);
    write(0x21, 0x30, 0x04);
    expect(pic.requested()).toBe(false);
    write(0x21, 0x01);
    expect(pic.acknowledge()).toBe(0x31);
  });

  it("has sixteen inputs", () => {
    expect(() => pic.input(16)).toThrow(RangeError);
  });

  it("restores the levels of its inputs, so that asserting one again is no edge", () => {
    pic.input(4).set(true);
    pic.acknowledge();
    const other = new Pic8259Model().create(new FakeDeviceContext());
    if (pic.checkpoint.kind !== "state" || other.checkpoint.kind !== "state") throw new Error("it has no state");
    other.checkpoint.restore(pic.checkpoint.save());
    other.input(4).set(true);
    expect(other.requested()).toBe(false);
    expect(other.checkpoint.save()).toEqual(pic.checkpoint.save());
  });
});
