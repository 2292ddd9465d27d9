import type { Device } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { Uart16550Model } from "../src/index.ts";

const base = 0x3f8;
const properties = { port: base, irq: 4, characterDevice: "serial0" };

describe("uart-16550", () => {
  let context: FakeDeviceContext;
  let uart: Device;
  const read = (register: number): number => context.bus.ports.read(base + register, 1);
  const write = (register: number, value: number): void => context.bus.ports.write(base + register, 1, value);
  const type = (text: string): void => context.characterDevice("serial0").type(text);
  const asserted = (): boolean => context.interrupt(4).level;

  beforeEach(() => {
    context = new FakeDeviceContext({ properties });
    uart = new Uart16550Model().create(context);
    uart.resume?.();
    write(4, 0x0b);
  });

  it("sends what the guest writes, in order", () => {
    for (const byte of Buffer.from("hello")) write(0, byte);
    expect(context.characterDevice("serial0").text).toBe("hello");
    expect(read(5) & 0x60).toBe(0x60);
  });

  it("keeps the divisor behind the divisor latch bit, and does not send it", () => {
    write(3, 0x83);
    write(0, 0x01);
    write(1, 0x02);
    expect([read(0), read(1)]).toEqual([0x01, 0x02]);
    write(3, 0x03);
    expect(read(1)).toBe(0);
    expect(context.characterDevice("serial0").text).toBe("");
  });

  it("raises the transmitter interrupt whenever it is enabled, and once more for every byte", () => {
    write(1, 0x02);
    expect(asserted()).toBe(true);
    expect(read(2) & 0x0f).toBe(0x02);
    expect(asserted()).toBe(false);
    const edges = context.interrupt(4).risingEdges;
    write(0, 0x41);
    write(0, 0x42);
    expect(context.interrupt(4).risingEdges).toBe(edges + 2);
    write(1, 0x00);
    write(1, 0x02);
    expect(read(2) & 0x0f).toBe(0x02);
  });

  it("clears the transmitter interrupt only by a read that reports it", () => {
    write(1, 0x03);
    type("x");
    expect(read(2) & 0x0f).toBe(0x04);
    expect(read(0)).toBe(0x78);
    expect(read(2) & 0x0f).toBe(0x02);
    expect(read(2) & 0x0f).toBe(0x01);
  });

  it("tells received bytes at the trigger level, and fewer after four character times", () => {
    write(3, 0x03);
    write(2, 0x41);
    write(1, 0x01);
    type("abc");
    expect(asserted()).toBe(false);
    // 9600 baud, ten bits a character: 4.17 ms.
    context.advance(4_100_000);
    expect(asserted()).toBe(false);
    context.advance(100_000);
    expect(read(2) & 0x0f).toBe(0x0c);
    expect(read(0)).toBe(0x61);
    expect(asserted()).toBe(false);
    type("de");
    expect(read(2) & 0x0f).toBe(0x04);
  });

  it("takes no more from the host than fits, and the rest when there is room", () => {
    write(2, 0x01);
    type("0123456789abcdefXYZ");
    expect(context.characterDevice("serial0").waiting).toBe(3);
    const received = Array.from({ length: 19 }, () => String.fromCharCode(read(0)));
    expect(received.join("")).toBe("0123456789abcdefXYZ");
    expect(read(5) & 0x03).toBe(0);
  });

  it("holds one byte without FIFOs", () => {
    type("ab");
    expect(context.characterDevice("serial0").waiting).toBe(1);
    expect(read(0)).toBe(0x61);
    expect(read(0)).toBe(0x62);
  });

  it("shows a full transmitter while the other end does not keep up, and interrupts when it does again", () => {
    write(1, 0x02);
    expect(read(2) & 0x0f).toBe(0x02);
    write(0, 0x61);
    context.characterDevice("serial0").setWritable(false);
    write(0, 0x62);
    expect(read(5) & 0x60).toBe(0);
    expect(read(2) & 0x0f).toBe(0x01);
    expect(asserted()).toBe(false);
    context.characterDevice("serial0").setWritable(true);
    expect(asserted()).toBe(true);
    expect(read(5) & 0x60).toBe(0x60);
    expect(read(2) & 0x0f).toBe(0x02);
    expect(context.characterDevice("serial0").text).toBe("ab");
  });

  it("loops back bytes and modem lines, and overruns when nobody reads", () => {
    write(4, 0x10 | 0x0a);
    expect(read(6) & 0xf0).toBe(0x90);
    write(0, 0x55);
    write(0, 0x66);
    expect(read(5) & 0x03).toBe(0x03);
    expect(read(5) & 0x02).toBe(0);
    expect(read(0)).toBe(0x66);
    expect(context.characterDevice("serial0").text).toBe("");
  });

  it("reports changes of the modem lines once", () => {
    expect(read(6)).toBe(0xb0);
    write(1, 0x08);
    // Into loopback with no outputs: clear to send, data set ready and carrier go away.
    write(4, 0x10);
    expect(read(2) & 0x0f).toBe(0x00);
    expect(read(6)).toBe(0x0b);
    expect(read(6)).toBe(0x00);
  });

  it("lets no interrupt out unless OUT2 is set", () => {
    write(4, 0x03);
    write(1, 0x02);
    expect(asserted()).toBe(false);
    write(4, 0x0b);
    expect(asserted()).toBe(true);
  });

  it("leaves input with the host while the VM is stopped", async () => {
    await uart.pause?.();
    type("later");
    expect(context.characterDevice("serial0").waiting).toBe(5);
    uart.resume?.();
    expect(read(0)).toBe(0x6c);
  });

  it("names the property that is wrong", () => {
    for (const [wrong, name] of [
      [{ ...properties, port: -1 }, "port"],
      [{ ...properties, irq: "four" }, "irq"],
      [{ port: base, irq: 4 }, "characterDevice"],
    ] as const) {
      const create = () => new Uart16550Model().create(new FakeDeviceContext({ id: "com7", properties: wrong }));
      expect(create).toThrow(
        expect.objectContaining({
          code: "ERR_CPR_DEVICE_PROPERTY",
          details: expect.objectContaining({ device: "com7", property: name }),
        }),
      );
    }
  });

  it("refuses a state with more bytes than fit", () => {
    const { checkpoint } = uart;
    if (checkpoint.kind !== "state") throw new Error("it has no state");
    const state = { ...checkpoint.save(), receiveCount: 2 };
    expect(() => checkpoint.restore(state)).toThrow(expect.objectContaining({ code: "ERR_CPR_DEVICE_STATE" }));
  });
});
