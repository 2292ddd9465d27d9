import type { AccessSize, Device, PciBus, PciFunction } from "@cpr/core";
import { deviceCompliance } from "@cpr/testkit/device";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { apicMessageOf } from "../src/pci/interrupt-message.ts";
import { makeHost } from "./virtio-pci-echo.ts";

deviceCompliance({
  name: "pci-host",
  create: (context) => {
    // The suite knows the host by the context's id.
    const { host } = makeHost(context, context.id);
    return host;
  },
  disturb: (_device, { bus }) => {
    bus.ports.write(0xcf8, 4, 0x8000_0004);
    bus.ports.write(0xcfc, 2, 0x0406);
    bus.ports.write(0xcf8, 4, 0x8000_003c);
    bus.ports.write(0xcfc, 1, 0x0b);
  },
});

const base = 0xe000_0000;
const description = {
  vendorId: 0x1234,
  deviceId: 0x5678,
  revision: 2,
  classCode: 0x01_0802,
  subsystemVendorId: 0x1af4,
  subsystemId: 7,
  capabilities: [],
  interruptPin: true,
} as const;

describe("pci-host", () => {
  let context: FakeDeviceContext;
  let host: Device & PciBus;
  const select = (slot: number, register: number): void =>
    context.bus.ports.write(0xcf8, 4, 0x8000_0000 + (slot << 11) + (register & 0xfc));
  const read = (slot: number, register: number, size: AccessSize): number => {
    select(slot, register);
    return context.bus.ports.read(0xcfc + (register & 3), size);
  };
  const write = (slot: number, register: number, size: AccessSize, value: number): void => {
    select(slot, register);
    context.bus.ports.write(0xcfc + (register & 3), size, value);
  };
  /** A function with one range, which answers with a number. */
  const plug = (owner: string, answer: number, size: number, address?: string): PciFunction => {
    const handler = { read: () => answer, write: () => undefined };
    return host.plug(owner, { ...description, bars: [{ index: 0, size, handler }] }, address);
  };
  const answerAt = (address: number): number => context.bus.mmio.read(address, 4);

  beforeEach(() => {
    context = new FakeDeviceContext();
    ({ host } = makeHost(context));
  });

  it("is found by configuration mechanism #1 as Linux looks for it", () => {
    const { ports } = context.bus;
    ports.write(0xcfb, 1, 1);
    expect(ports.read(0xcf8, 4)).toBe(0);
    ports.write(0xcf8, 4, 0x8000_0000);
    expect(ports.read(0xcf8, 4)).toBe(0x8000_0000);
    expect(read(0, 0x0a, 2)).toBe(0x0600);
    expect(ports.read(0xcf9, 1)).toBe(0xff);
    expect(read(1, 0, 4)).toBe(0xffff_ffff);
    context.bus.ports.write(0xcf8, 4, 0);
    expect(ports.read(0xcfc, 4)).toBe(0xffff_ffff);
  });

  it("shows a function in its slot, and none beside it", () => {
    plug("a", 1, 0x1000);
    expect(read(1, 0x00, 4)).toBe(0x5678_1234);
    expect(read(1, 0x08, 4)).toBe(0x0108_0202);
    expect(read(1, 0x2c, 4)).toBe(0x0007_1af4);
    expect(read(1, 0x3c, 2)).toBe(0x0111);
    write(1, 0, 4, 0);
    expect(read(1, 0x00, 4)).toBe(0x5678_1234);
    context.bus.ports.write(0xcf8, 4, 0x8000_0900);
    expect(context.bus.ports.read(0xcfc, 4)).toBe(0xffff_ffff);
    context.bus.ports.write(0xcf8, 4, 0x8001_0800);
    expect(context.bus.ports.read(0xcfc, 4)).toBe(0xffff_ffff);
  });

  it("gives each range a place of its own that is aligned, and enables it", () => {
    plug("a", 1, 0x1000);
    plug("b", 2, 0x4000);
    expect(read(1, 0x10, 4)).toBe(base);
    expect(read(2, 0x10, 4)).toBe(base + 0x4000);
    expect(read(1, 0x04, 2)).toBe(2);
    expect(answerAt(base + 0xffc)).toBe(1);
    expect(answerAt(base + 0x7ffc)).toBe(2);
  });

  it("tells the size of a range, and answers where the guest puts it", () => {
    const function_ = plug("a", 1, 0x4000);
    write(1, 0x04, 2, 0);
    expect(answerAt(base)).toBe(0xffff_ffff);
    write(1, 0x10, 4, 0xffff_ffff);
    expect(read(1, 0x10, 4)).toBe(0xffff_c000);
    expect(read(1, 0x14, 4)).toBe(0);
    write(1, 0x10, 4, 0xe100_1234);
    expect(answerAt(0xe100_0000)).toBe(0xffff_ffff);
    write(1, 0x04, 2, 2);
    expect(answerAt(0xe100_3ffc)).toBe(1);
    function_.reset();
    expect([answerAt(0xe100_0000), answerAt(base)]).toEqual([0xffff_ffff, 1]);
  });

  it("does not answer where somebody else does, and begins when that one moves away", () => {
    plug("a", 1, 0x1000);
    plug("b", 2, 0x1000);
    write(2, 0x10, 4, base);
    expect([answerAt(base), answerAt(base + 0x1000)]).toEqual([1, 0xffff_ffff]);
    write(1, 0x10, 4, base + 0x1000);
    expect([answerAt(base), answerAt(base + 0x1000)]).toEqual([2, 1]);
  });

  it("leads the pins of the slots to four lines in turn, which are shared", () => {
    const first = plug("a", 1, 0x1000, "2");
    const second = plug("b", 2, 0x1000, "6.0");
    first.setInterrupt(true);
    second.setInterrupt(true);
    first.setInterrupt(false);
    expect(context.levels()).toEqual({ 16: false, 17: false, 18: true, 19: false });
    second.setInterrupt(false);
    expect(context.levels()[18]).toBe(false);
  });

  it.each([
    ["0", "PCI: slot 0 function 0 not available for b, in use by pci"],
    ["a", "PCI: slot 10 function 0 not available for b, in use by a"],
    ["20", "Property 'b.addr' doesn't take value '20'"],
    ["1.1", "Property 'b.addr' doesn't take value '1.1'"],
    ["", "Property 'b.addr' doesn't take value ''"],
  ])("refuses the address '%s'", (address, message) => {
    plug("a", 1, 0x1000, "0xa");
    expect(() => plug("b", 2, 0x1000, address)).toThrow(message);
  });

  it("has room for 31 functions, and for what fits in the window", () => {
    for (let index = 1; index < 32; index++) plug(`f${index}`, index, 0x1000);
    expect(() => plug("more", 0, 0x1000)).toThrow("PCI: no slot/function available for more, all in use or reserved");
    ({ host } = makeHost(new FakeDeviceContext()));
    expect(() => plug("large", 0, 0x2000_0000)).toThrow("there is no room for the 536870912 bytes");
  });

  it("keeps the place of a range in a state, and refuses the state of another function", () => {
    const original = plug("a", 1, 0x1000);
    write(1, 0x10, 4, 0xe200_1000);
    const state = original.state.save();
    original.reset();
    expect(original.state.problemOf(state)).toBeUndefined();
    original.state.restore(state);
    expect([answerAt(base), answerAt(0xe200_1000)]).toEqual([0xffff_ffff, 1]);
    const other = plug("b", 2, 0x2000);
    expect(other.state.problemOf(state)).toContain("another device");
  });

  it("never fails, whatever is written to configuration space", () => {
    const functions = Array.from({ length: 4 }, (_, index) => plug(`f${index}`, index, 0x10 << (4 * index)));
    let seed = 1;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * limit);
    };
    for (let step = 0; step < 20_000; step++) {
      const size = ([1, 2, 4] as const)[random(3)] as AccessSize;
      const slot = random(6);
      select(slot, random(256));
      context.bus.ports.write(0xcfc + random(4), size, random(2 ** (8 * size)));
      if (random(4) === 0) write(slot, 0x10, 4, base + random(16) * 0x1000);
      functions[random(4)]?.setInterrupt(random(2) === 1);
    }
    for (const each of functions) each.reset();
    for (const [index, each] of functions.entries()) {
      expect(answerAt(read(1 + index, 0x10, 4))).toBe(index);
      each.setInterrupt(true);
    }
    expect(Object.values(context.levels())).toEqual([true, true, true, true]);
  });
});

describe("an interrupt message", () => {
  it.each([
    [0xfee0_3000, 0x0041, { destination: 3, logical: false, deliveryMode: "fixed", vector: 0x41, trigger: "edge" }],
    [
      0xfeef_f00c,
      0x8131,
      { destination: 255, logical: true, deliveryMode: "lowest-priority", vector: 0x31, trigger: "level" },
    ],
    [
      0xfee0_100c,
      0x0055,
      { destination: 1, logical: true, deliveryMode: "lowest-priority", vector: 0x55, trigger: "edge" },
    ],
    [0xfee0_0000, 0x0341, undefined],
    [0x0010_0000, 0x0041, undefined],
  ])("0x%s with 0x%s", (address, data, message) => {
    expect(apicMessageOf({ address, data })).toEqual(message);
  });
});
