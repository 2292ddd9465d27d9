import type { Device } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { type Ioapic, IoapicModel } from "../src/index.ts";
import { RecordingApicBus } from "./wiring.ts";

const masked = 0x1_0000;
const level = 0x8000;
const remoteRequest = 0x4000;

describe("ioapic", () => {
  let context: FakeDeviceContext;
  let apicBus: RecordingApicBus;
  let ioapic: Device & Ioapic;
  const read = (register: number): number => {
    context.bus.mmio.write(0xfec0_0000, 4, register);
    return context.bus.mmio.read(0xfec0_0010, 4);
  };
  const write = (register: number, value: number): void => {
    context.bus.mmio.write(0xfec0_0000, 4, register);
    context.bus.mmio.write(0xfec0_0010, 4, value);
  };
  const program = (pin: number, low: number, destination = 0): void => {
    write(0x11 + 2 * pin, destination * 2 ** 24);
    write(0x10 + 2 * pin, low);
  };

  beforeEach(() => {
    apicBus = new RecordingApicBus();
    context = new FakeDeviceContext({ properties: { apicBus, apicId: 3 } });
    ioapic = new IoapicModel().create(context);
  });

  it("identifies itself: id, version 0x20, 24 pins, all masked", () => {
    expect(read(0)).toBe(0x0300_0000);
    expect(read(1)).toBe(0x0017_0020);
    expect(read(0x10 + 2 * 23)).toBe(masked);
  });

  it("sends an edge once, to the destination that the entry names", () => {
    program(4, 0x0834, 0x02);
    ioapic.input(4).set(true);
    ioapic.input(4).set(true);
    ioapic.input(4).set(false);
    ioapic.input(4).set(true);
    const message = { destination: 2, logical: true, deliveryMode: "fixed", vector: 0x34, trigger: "edge" };
    expect(apicBus.messages).toEqual([message, message]);
  });

  it("tells the APIC bus what each pin sends, and when it is masked or reset", () => {
    program(4, level | 0x34, 0x02);
    expect([...apicBus.routes]).toEqual([
      [4, { destination: 2, logical: false, deliveryMode: "fixed", vector: 0x34, trigger: "level" }],
    ]);
    write(0x10 + 2 * 4, masked | 0x34);
    expect(apicBus.routes.size).toBe(0);
    program(4, 0x35);
    const saved = ioapic.checkpoint.kind === "state" ? ioapic.checkpoint.save() : {};
    ioapic.reset();
    expect(apicBus.routes.size).toBe(0);
    if (ioapic.checkpoint.kind === "state") ioapic.checkpoint.restore(saved);
    expect(apicBus.routes.get(4)?.vector).toBe(0x35);
  });

  it("forgets an edge on a masked pin, and sends a level after unmasking", () => {
    program(4, masked | 0x34);
    ioapic.input(4).set(true);
    program(4, 0x34);
    expect(apicBus.messages).toEqual([]);
    program(9, masked | level | 0x51);
    ioapic.input(9).set(true);
    program(9, level | 0x51);
    expect(apicBus.messages).toHaveLength(1);
  });

  it("sends a level again only after its end of interrupt", () => {
    program(9, level | 0x51);
    ioapic.input(9).set(true);
    expect(read(0x10 + 18)).toBe(level | remoteRequest | 0x51);
    ioapic.endOfInterrupt(0x52);
    expect(apicBus.messages).toHaveLength(1);
    ioapic.endOfInterrupt(0x51);
    expect(apicBus.messages).toHaveLength(2);
    ioapic.input(9).set(false);
    // The register of version 0x20 does the same.
    context.bus.mmio.write(0xfec0_0040, 4, 0x51);
    expect(read(0x10 + 18)).toBe(level | 0x51);
    expect(apicBus.messages).toHaveLength(2);
  });

  it("drops remote IRR when the guest makes the entry edge-triggered", () => {
    program(9, level | 0x51);
    ioapic.input(9).set(true);
    write(0x10 + 18, masked | 0x51);
    expect(read(0x10 + 18)).toBe(masked | 0x51);
  });

  it("passes on delivery modes", () => {
    program(0, 0x0700);
    program(1, 0x0400);
    program(3, 0x0133);
    for (const pin of [0, 1, 3]) ioapic.input(pin).set(true);
    expect(apicBus.messages.map(({ deliveryMode }) => deliveryMode)).toEqual(["external", "nmi", "lowest-priority"]);
  });

  it("has 24 pins", () => {
    expect(() => ioapic.input(24)).toThrow(RangeError);
  });

  it("does not send again what was in service when it was saved", () => {
    program(9, level | 0x51);
    ioapic.input(9).set(true);
    const other = new IoapicModel().create(new FakeDeviceContext({ properties: { apicBus } }));
    if (ioapic.checkpoint.kind !== "state" || other.checkpoint.kind !== "state") throw new Error("it has no state");
    other.checkpoint.restore(ioapic.checkpoint.save());
    other.input(9).set(true);
    expect(apicBus.messages).toHaveLength(1);
    other.endOfInterrupt(0x51);
    expect(apicBus.messages).toHaveLength(2);
  });
});
