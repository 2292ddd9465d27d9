import type { Device, InterruptController, LocalApic, PowerButton } from "@cpr/core";
import { type DeviceFixture, deviceCompliance } from "@cpr/testkit/device";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import {
  AcpiPowerModel,
  CmosRtcModel,
  DebugPortModel,
  I8042Model,
  IoapicModel,
  LocalApicModel,
  Pic8259Model,
  Pit8254Model,
  PvpanicModel,
  ResetControlModel,
  Uart16550Model,
  VmgenidModel,
} from "../src/index.ts";
import { RecordingApicBus } from "./wiring.ts";

pluginPackageCompliance(import.meta.url);

/** A part of a device that the board calls. */
function part<T>(device: Device): T {
  return device as unknown as T;
}

const uart: DeviceFixture = {
  name: "uart-16550",
  create: (context) => new Uart16550Model().create(context),
  properties: { port: 0x3f8, irq: 4, characterDevice: "serial0" },
  disturb: (device, context) => {
    const { bus } = context;
    device.resume?.();
    bus.ports.write(0x3fb, 1, 0x83);
    bus.ports.write(0x3f8, 1, 0x01);
    bus.ports.write(0x3f9, 1, 0x00);
    bus.ports.write(0x3fb, 1, 0x03);
    bus.ports.write(0x3fa, 1, 0xc1);
    bus.ports.write(0x3fc, 1, 0x0b);
    bus.ports.write(0x3f9, 1, 0x0f);
    bus.ports.write(0x3ff, 1, 0x5a);
    bus.ports.write(0x3f8, 1, 0x41);
    context.characterDevice("serial0").type("typed");
    bus.ports.read(0x3f8, 1);
  },
};

const pic: DeviceFixture = {
  name: "pic-8259",
  create: (context) => new Pic8259Model().create(context),
  disturb: (device, { bus }) => {
    for (const [base, vector] of [
      [0x20, 0x20],
      [0xa0, 0x28],
    ] as const) {
      bus.ports.write(base, 1, 0x11);
      bus.ports.write(base + 1, 1, vector);
      bus.ports.write(base + 1, 1, base === 0x20 ? 4 : 2);
      bus.ports.write(base + 1, 1, 1);
      bus.ports.write(base + 1, 1, 0x40);
    }
    bus.ports.write(0x4d1, 1, 0x02);
    bus.ports.write(0x20, 1, 0xc3);
    for (const pin of [1, 5, 12]) {
      const line = part<InterruptController>(device).input(pin);
      line.set(true);
      line.set(false);
    }
    part<{ acknowledge(): number }>(device).acknowledge();
  },
};

const pit: DeviceFixture = {
  name: "pit-8254",
  create: (context) => new Pit8254Model().create(context),
  disturb: (_device, { bus }) => {
    bus.ports.write(0x43, 1, 0x34);
    bus.ports.write(0x40, 1, 0xa9);
    bus.ports.write(0x40, 1, 0x04);
    bus.ports.write(0x61, 1, 0x01);
    bus.ports.write(0x43, 1, 0xb0);
    bus.ports.write(0x42, 1, 0x34);
    bus.ports.write(0x42, 1, 0x12);
    bus.ports.write(0x43, 1, 0x57);
    bus.ports.write(0x41, 1, 0x99);
    bus.ports.write(0x43, 1, 0xc2);
    bus.ports.write(0x43, 1, 0x84);
  },
};

const ioapic: DeviceFixture = {
  name: "ioapic",
  create: (context) => new IoapicModel().create(context),
  properties: { apicBus: new RecordingApicBus(), apicId: 1 },
  disturb: (device, { bus }) => {
    const write = (register: number, value: number): void => {
      bus.mmio.write(0xfec0_0000, 4, register);
      bus.mmio.write(0xfec0_0010, 4, value);
    };
    write(0, 0x0500_0000);
    write(0x10 + 2 * 4 + 1, 0x0300_0000);
    write(0x10 + 2 * 4, 0x0000_0034);
    write(0x10 + 2 * 9, 0x0000_8051);
    for (const pin of [4, 9]) {
      const line = part<InterruptController>(device).input(pin);
      line.set(true);
      line.set(false);
    }
  },
};

const localApic: DeviceFixture = {
  name: "local-apic",
  create: (context) => new LocalApicModel().create(context),
  properties: { index: 0, apicBus: new RecordingApicBus() },
  disturb: (device) => {
    const apic = part<LocalApic>(device);
    apic.writeRegister(0x0f0, 0x1ff);
    apic.writeRegister(0x0d0, 0x0100_0000);
    apic.writeRegister(0x0e0, 0xffff_ffff);
    apic.writeRegister(0x3e0, 0x03);
    apic.writeRegister(0x320, 0x0002_00ec);
    apic.writeRegister(0x350, 0x0000_0700);
    apic.writeRegister(0x370, 0x0000_00fe);
    apic.writeRegister(0x380, 100_000);
    apic.writeRegister(0x310, 0x0100_0000);
    apic.writeRegister(0x300, 0x0000_4005);
    const fixed = { destination: 0xff, logical: false, deliveryMode: "fixed" } as const;
    apic.receive({ ...fixed, vector: 0x61, trigger: "level" });
    apic.acknowledge();
    apic.receive({ ...fixed, vector: 0x51, trigger: "edge" });
    apic.receive({ ...fixed, vector: 0, trigger: "edge", deliveryMode: "nmi" });
    apic.taskPriority = 3;
  },
};

const clock: DeviceFixture = {
  name: "cmos-rtc",
  create: (context) => new CmosRtcModel().create(context),
  disturb: (_device, { bus }) => {
    const write = (index: number, value: number): void => {
      bus.ports.write(0x70, 1, index);
      bus.ports.write(0x71, 1, value);
    };
    write(0x0b, 0x82);
    write(0x04, 0x23);
    write(0x07, 0x28);
    write(0x0b, 0x72);
    write(0x0a, 0x2a);
    write(0x05, 0xc0);
    write(0x03, 0xc0);
    write(0x01, 0x30);
    write(0x40, 0x77);
    bus.ports.write(0x70, 1, 0x8c);
  },
  batteryBacked: ["memory", "offset", "checked"],
};

const keyboard: DeviceFixture = {
  name: "i8042",
  create: (context) => new I8042Model().create(context),
  disturb: (_device, { bus }) => {
    bus.ports.write(0x64, 1, 0x60);
    bus.ports.write(0x60, 1, 0x65);
    bus.ports.write(0x60, 1, 0xed);
    bus.ports.write(0x60, 1, 0x07);
    bus.ports.write(0x60, 1, 0xf0);
    bus.ports.write(0x60, 1, 0x01);
    bus.ports.write(0x60, 1, 0xf3);
    bus.ports.read(0x60, 1);
    bus.ports.write(0x64, 1, 0xd1);
  },
};

const power: DeviceFixture = {
  name: "acpi-power",
  create: (context) => new AcpiPowerModel().create(context),
  properties: { port: 0x600 },
  disturb: (device, { bus }) => {
    bus.ports.write(0x602, 2, 0x0101);
    bus.ports.write(0x604, 2, 0x1400);
    bus.ports.write(0x622, 2, 0x0003);
    part<PowerButton>(device).pressPowerButton();
  },
};

const reset: DeviceFixture = {
  name: "reset-control",
  create: (context) => new ResetControlModel().create(context),
  disturb: (_device, { bus }) => {
    bus.ports.write(0xcf9, 1, 0x0a);
    bus.ports.write(0x92, 1, 0x08);
  },
};

const debugPort: DeviceFixture = {
  name: "debug-port",
  create: (context) => new DebugPortModel().create(context),
  properties: { characterDevice: "debug" },
  disturb: (_device, { bus }) => bus.ports.write(0xe9, 1, 0x21),
};

const panic: DeviceFixture = {
  name: "pvpanic",
  create: (context) => new PvpanicModel().create(context),
  disturb: (_device, { bus }) => bus.ports.write(0x505, 1, 0xfe),
};

const generation: DeviceFixture = {
  name: "vmgenid",
  create: (context) => new VmgenidModel().create(context),
  properties: { address: 0x1000, event: 5, generalEvents: { raiseGeneralEvent: () => undefined } },
  // Not by what makes it change, which is different each time.
  disturb: ({ checkpoint }) => {
    if (checkpoint.kind === "state") checkpoint.restore({ guid: new Uint8Array(16).fill(0x5a), changed: true });
  },
  batteryBacked: ["guid", "changed"],
};

for (const fixture of [
  uart,
  pic,
  pit,
  ioapic,
  localApic,
  clock,
  keyboard,
  power,
  reset,
  debugPort,
  panic,
  generation,
]) {
  deviceCompliance(fixture);
}
