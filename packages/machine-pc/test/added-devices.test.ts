import type { Device, DeviceContext, DeviceModel, DeviceOptions, PciBus } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { buildMachine } from "./test-machine.ts";

/** A device of tests, with what its model was given. */
class FakeModel implements DeviceModel {
  readonly name: string;
  readonly plugsInto?: string;
  readonly properties = { color: "a colour" };
  readonly made: DeviceContext[] = [];
  readonly #buses: Readonly<Record<string, unknown>> | undefined;

  constructor(name: string, plugsInto?: string, buses?: Readonly<Record<string, unknown>>) {
    this.name = name;
    if (plugsInto !== undefined) this.plugsInto = plugsInto;
    this.#buses = buses;
  }

  create(context: DeviceContext): Device {
    this.made.push(context);
    const { id } = context;
    const buses = this.#buses === undefined ? {} : { buses: this.#buses };
    return { id, ...buses, reset: () => undefined, checkpoint: { kind: "stateless" } };
  }
}

const added = (model: string, id: string, properties: Readonly<Record<string, string>> = {}): DeviceOptions => ({
  model,
  id,
  properties,
});

async function build(devices: readonly DeviceOptions[], models: readonly DeviceModel[] = []) {
  return await buildMachine({ options: { devices }, models });
}

describe("devices that the user adds to machine pc", () => {
  it("leave the machine as it is if there are none", async () => {
    const { machine, bus } = await build([]);
    expect(machine.devices.at(-1)?.id).toBe("com1");
    expect(bus.ports.read(0xcf8, 4)).toBe(0xffff_ffff);
  });

  it("go on a PCI bus in their order, behind a host bridge that comes first", async () => {
    const { machine, bus } = await build([added("virtio-rng-pci", "a", { addr: "5" }), added("virtio-rng-pci", "b")]);
    expect(machine.devices.slice(-3).map(({ id }) => id)).toEqual(["pci", "a", "b"]);
    const idAt = (slot: number): number => {
      bus.ports.write(0xcf8, 4, 0x8000_0000 + (slot << 11));
      return bus.ports.read(0xcfc, 4);
    };
    expect([0, 1, 2, 5].map(idAt)).toEqual([0x0008_1b36, 0x1044_1af4, 0xffff_ffff, 0x1044_1af4]);
  });

  it("have it told, with their id, what their drivers break", async () => {
    const model = new FakeModel("fake", "pci");
    const { driverFailures } = await build([added("fake", "f")], [model]);
    model.made[0]?.needsReset("an odd request");
    expect(driverFailures).toEqual(["f: an odd request"]);
  });

  it("send messages and interrupts to the interrupt controllers", async () => {
    const model = new FakeModel("fake", "pci");
    const { machine, bus: system } = await build([added("fake", "f")], [model]);
    const bus = model.made[0]?.properties.bus as PciBus;
    const fake = bus.plug(
      "f",
      {
        vendorId: 1,
        deviceId: 2,
        revision: 0,
        classCode: 0,
        subsystemVendorId: 0,
        subsystemId: 0,
        bars: [],
        capabilities: [],
        interruptPin: true,
      },
      "2",
    );
    fake.setInterrupt(true);
    const ioapic = machine.devices.find(({ id }) => id === "ioapic");
    const state = ioapic?.checkpoint.kind === "state" ? ioapic.checkpoint.save() : {};
    expect(state.inputs).toBe(1 << 18);
    expect(system.mmio.read(0xe000_0000, 4)).toBe(0xffff_ffff);
  });

  it("go on the last bus of their kind, or on the one that is named", async () => {
    const buses = [{ shelf: { number: 1 } }, { shelf: { number: 2 } }];
    const book = new FakeModel("book", "shelf");
    const shelves = buses.map((each, index) => new FakeModel(`shelf${index}`, "board", each));
    await build(
      [
        added("shelf0", "one"),
        added("shelf1", "two"),
        added("book", "a", { color: "red" }),
        added("book", "b", { bus: "one" }),
        added("book", "c", { bus: "one.0" }),
      ],
      [book, ...shelves],
    );
    expect(book.made.map(({ properties }) => properties.bus)).toEqual(
      [buses[1], buses[0], buses[0]].map((each) => each?.shelf),
    );
    expect(book.made[0]?.properties.color).toBe("red");
  });

  it.each([
    [[added("ioapic", "x")], "Parameter 'driver' expects a pluggable device type"],
    [[added("virtio-rng-pci", "x", { colour: "red" })], "Property 'virtio-rng-pci.colour' not found"],
    [[added("virtio-rng-pci", "x", { apicBus: "y" })], "Property 'virtio-rng-pci.apicBus' not found"],
    [[added("virtio-rng-pci", "x", { bus: "pci.1" })], "Bus 'pci.1' not found"],
    [[added("virtio-rng-pci", "x", { bus: "board0" })], "Bus 'board0' not found"],
    [[added("virtio-rng-pci", "x", { addr: "0" })], "PCI: slot 0 function 0 not available for x, in use by pci"],
    [[added("virtio-rng-pci", "x", { vectors: "many" })], "Device 'x' needs an integer from 0 to 2048"],
    [[added("book", "x")], "No 'shelf' bus found for device 'book'"],
    [[added("virtio-rng-pci", "x"), added("book", "y", { bus: "pci.0" })], "Device 'book' can't go on pci bus"],
    [[added("single", "x"), added("single", "y")], "at most one single device is permitted"],
    [[added("single", "x", { bus: "pci.0" })], "Property 'single.bus' not found"],
  ])("are refused if they cannot be: %#", async (devices, message) => {
    const models = [new FakeModel("book", "shelf"), new FakeModel("single", "board")];
    await expect(build(devices, models)).rejects.toThrow(message);
  });
});
