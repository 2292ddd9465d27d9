import type { DeviceModel } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { describeDevices, helpAsked, parseDevices } from "../src/device-options.ts";

const model = (name: string, plugsInto?: string, properties?: Readonly<Record<string, string>>): DeviceModel => ({
  name,
  ...(plugsInto === undefined ? {} : { plugsInto }),
  ...(properties === undefined ? {} : { properties }),
  create: () => {
    throw new Error("nothing is made here");
  },
});

describe("-device", () => {
  it("names a model, and what it is given; a device without an id is named by its place", () => {
    expect(parseDevices(["virtio-rng-pci", "virtio-blk-pci,id=disk0,drive=a,,b,addr=5", "driver=x"])).toEqual([
      { model: "virtio-rng-pci", id: "device0", properties: {} },
      { model: "virtio-blk-pci", id: "disk0", properties: { drive: "a,b", addr: "5" } },
      { model: "x", id: "device2", properties: {} },
    ]);
  });

  it.each([
    [["id=x"], "-device id=x: Parameter 'driver' is missing"],
    [[""], "Parameter 'driver' is missing"],
    [["a,id=0x"], "Parameter 'id' expects an identifier"],
    [["a,id=x", "b,id=x"], "Duplicate ID 'x' for device"],
    [["a", "b,id=device0"], "Duplicate ID 'device0' for device"],
    [["a,b"], "Expected '=' after parameter 'b'"],
  ])("refuses %j", (texts, message) => {
    expect(() => parseDevices(texts)).toThrow(message);
  });

  it("knows QEMU's short names, and adds the bus that ports need where there is none", () => {
    const port = { model: "virtserialport", id: "device0", properties: { chardev: "a" } };
    const bus = { model: "virtio-serial-pci", id: "virtio-serial0", properties: {} };
    expect(parseDevices(["virtserialport,chardev=a", "virtconsole,chardev=b"])).toEqual([
      bus,
      port,
      { model: "virtconsole", id: "device1", properties: { chardev: "b" } },
    ]);
    expect(parseDevices(["virtio-serial,id=own", "virtconsole,chardev=b"])).toEqual([
      { ...bus, id: "own" },
      { model: "virtconsole", id: "device1", properties: { chardev: "b" } },
    ]);
    expect(parseDevices(["virtserialport,chardev=a,bus=x.0"])).toHaveLength(1);
    expect(() => parseDevices(["virtserialport,chardev=a", "x,id=virtio-serial0"])).toThrow("Duplicate ID");
  });

  it("is asked for help", () => {
    expect(helpAsked("help")).toEqual({ model: undefined });
    expect(helpAsked("?")).toEqual({ model: undefined });
    expect(helpAsked("virtio-rng-pci,help")).toEqual({ model: "virtio-rng-pci" });
    expect(helpAsked("virtio-rng-pci,id=help")).toBeUndefined();
  });

  it("tells which models there are, and what they take", () => {
    const models = [model("zebra", "board"), model("ioapic"), model("ant", "pci", { legs: "how many" })];
    expect(describeDevices(models, undefined)).toBe('name "ant", bus pci\nname "zebra", bus board\n');
    expect(describeDevices(models, "ant")).toMatch(
      /^ant options:\n {2}bus=.*\n {2}addr=.*\n {2}legs=<...> {2}how many\n$/,
    );
    expect(describeDevices(models, "zebra")).toBe("zebra options:\n");
    expect(() => describeDevices(models, "ioapic")).toThrow("'ioapic' is not a valid device model name");
  });
});
