import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { memoryType } from "@cpr/boot-linux";
import { type Device, type DeviceModel, layOutRam, localApicState } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { PcMachineModel } from "../src/index.ts";
import { memoryMap } from "../src/memory-map.ts";
import {
  buildMachine,
  defaultOptions,
  kernelAddress,
  RecordingLocalApics,
  scratchFolder,
  type TestMachine,
  writeKernel,
} from "./test-machine.ts";

const mebibyte = 2 ** 20;
const apicBase = 0xfee0_0000;

/** Programs the 8259A pair and enables the boot processor's local APIC; interrupts of the pair have vectors from 0x20 on. */
function enablePic({ bus }: TestMachine): void {
  for (const [port, ...values] of [
    [0x20, 0x11],
    [0x21, 0x20, 0x04, 0x01, 0x00],
    [0xa0, 0x11],
    [0xa1, 0x28, 0x02, 0x01, 0x00],
  ] as const) {
    for (const value of values) bus.ports.write(port, 1, value);
  }
}

/** Programs a pin of the IOAPIC for vCPU 0 and masks the 8259A pair. */
function enableIoapic({ bus }: TestMachine, pin: number, low: number): void {
  bus.ports.write(0x21, 1, 0xff);
  bus.mmio.write(apicBase + 0xf0, 4, 0x1ff);
  bus.mmio.write(0xfec0_0000, 4, 0x10 + 2 * pin);
  bus.mmio.write(0xfec0_0010, 4, low);
}

function startTimer({ bus }: TestMachine): void {
  bus.ports.write(0x43, 1, 0x34);
  bus.ports.write(0x40, 1, 0xa9);
  bus.ports.write(0x40, 1, 0x04);
}

function advance({ clock, timers }: TestMachine, nanoseconds: number): void {
  clock.advance(nanoseconds);
  timers.runDue();
}

function states({ machine }: TestMachine): Record<string, unknown> {
  return Object.fromEntries(
    machine.devices.map(({ id, checkpoint }) => [
      id,
      checkpoint.kind === "state" ? structuredClone(checkpoint.save()) : {},
    ]),
  );
}

/** Brings many devices out of their power-on state. */
function disturb(machine: TestMachine): void {
  enablePic(machine);
  startTimer(machine);
  const { bus } = machine;
  bus.ports.write(0x3fc, 1, 0x0b);
  bus.ports.write(0x3f9, 1, 0x02);
  bus.ports.write(0x60, 1, 0xf2);
  bus.ports.write(0x602, 2, 0x0100);
  bus.ports.write(0xcf9, 1, 0x02);
  enableIoapic(machine, 9, 0x8051);
  machine.machine.powerDown();
  advance(machine, 1_000_000);
}

describe("machine pc", () => {
  it("has its devices, interrupt controllers first", async () => {
    const { machine } = await buildMachine({ options: { processorCount: 2, serial: ["a", "b"] } });
    expect(machine.devices.map(({ id }) => id)).toEqual([
      "pic",
      "ioapic",
      "local-apic-0",
      "local-apic-1",
      "pit",
      "rtc",
      "i8042",
      "acpi-power",
      "reset-control",
      "com1",
      "com2",
    ]);
  });

  it("answers nothing where a PC has PCI, video and further serial ports", async () => {
    const { bus } = await buildMachine();
    bus.ports.write(0xcf8, 4, 0x8000_0000);
    expect(bus.ports.read(0xcf8, 4)).toBe(0xffff_ffff);
    expect(bus.ports.read(0xcfc, 4)).toBe(0xffff_ffff);
    expect(bus.ports.read(0x3d5, 1)).toBe(0xff);
    expect(bus.ports.read(0x2f8, 1)).toBe(0xff);
  });

  it("connects serial ports to character devices in their order", async () => {
    const { bus, characterDevices } = await buildMachine({ options: { serial: ["first", "second"] } });
    bus.ports.write(0x2f8, 1, 0x32);
    bus.ports.write(0x3f8, 1, 0x31);
    expect(characterDevices.get("first")?.text).toBe("1");
    expect(characterDevices.get("second")?.text).toBe("2");
  });

  describe("interrupts", () => {
    it("bring the timer through the 8259A pair to the boot processor", async () => {
      const machine = await buildMachine();
      const [processor] = machine.execution.interrupts;
      enablePic(machine);
      startTimer(machine);
      // Programming raised the output once.
      expect(processor?.acknowledge()).toBe(0x20);
      machine.bus.ports.write(0x20, 1, 0x20);
      expect(processor?.pending()).toBe(false);
      advance(machine, 1_000_000);
      expect(processor?.acknowledge()).toBe(0x20);
    });

    it("bring the timer to pin 2 of the IOAPIC", async () => {
      const machine = await buildMachine();
      enableIoapic(machine, 2, 0x30);
      startTimer(machine);
      advance(machine, 1_000_000);
      expect(machine.execution.interrupts[0]?.acknowledge()).toBe(0x30);
    });

    it("bring the slave's inputs, and every device at its own", async () => {
      const machine = await buildMachine();
      const { bus } = machine;
      const [processor] = machine.execution.interrupts;
      enablePic(machine);
      bus.ports.write(0x60, 1, 0xee);
      expect(processor?.acknowledge()).toBe(0x21);
      bus.ports.write(0x20, 1, 0x20);
      bus.ports.write(0x3fc, 1, 0x0b);
      bus.ports.write(0x3f9, 1, 0x02);
      expect(processor?.acknowledge()).toBe(0x24);
      bus.ports.write(0x20, 1, 0x20);
      bus.ports.write(0x70, 1, 0x0b);
      bus.ports.write(0x71, 1, 0x12);
      advance(machine, 1_000_000_000);
      expect(processor?.acknowledge()).toBe(0x28);
    });

    it("keep a level-triggered SCI asserted until the event is cleared, over ends of interrupt", async () => {
      const machine = await buildMachine();
      const { bus } = machine;
      const [processor] = machine.execution.interrupts;
      enableIoapic(machine, 9, 0x8051);
      bus.ports.write(0x602, 2, 0x0100);
      machine.machine.powerDown();
      expect(processor?.acknowledge()).toBe(0x51);
      bus.mmio.write(apicBase + 0xb0, 4, 0);
      expect(processor?.acknowledge()).toBe(0x51);
      bus.ports.write(0x600, 2, 0x0100);
      bus.mmio.write(apicBase + 0xb0, 4, 0);
      expect(processor?.pending()).toBe(false);
    });

    it("are shared by serial ports on one line", async () => {
      const machine = await buildMachine({ options: { serial: ["a", "b", "c"] } });
      const { bus } = machine;
      enablePic(machine);
      for (const base of [0x3f8, 0x3e8]) {
        bus.ports.write(base + 4, 1, 0x0b);
        bus.ports.write(base + 1, 1, 0x02);
      }
      const [processor] = machine.execution.interrupts;
      expect(processor?.acknowledge()).toBe(0x24);
      bus.ports.write(0x20, 1, 0x20);
      // The first is served, the second still holds the line, so there is no new edge.
      bus.ports.read(0x3fa, 1);
      expect(processor?.pending()).toBe(false);
      bus.ports.read(0x3ea, 1);
      bus.ports.write(0x3f8, 1, 0x41);
      expect(processor?.acknowledge()).toBe(0x24);
    });
  });

  describe("with several vCPUs", () => {
    it("gives each its own local APIC at the same address", async () => {
      const { bus, execution } = await buildMachine({ options: { processorCount: 3 } });
      const ids = [0, 1, 2].map((processor) => {
        execution.processor = processor;
        return bus.mmio.read(apicBase + 0x20, 4);
      });
      expect(ids).toEqual([0, 0x0100_0000, 0x0200_0000]);
      expect(execution.interrupts.map((each) => each.readMsr(0x1b))).toEqual([
        0xfee0_0900n,
        0xfee0_0800n,
        0xfee0_0800n,
      ]);
    });

    it("starts the others by INIT and start-up", async () => {
      const { bus, execution } = await buildMachine({ options: { processorCount: 2 } });
      bus.mmio.write(apicBase + 0x310, 4, 0x0100_0000);
      bus.mmio.write(apicBase + 0x300, 4, 0x4500);
      bus.mmio.write(apicBase + 0x300, 4, 0x4608);
      expect(execution.interrupts[0]?.takeEvent()).toBeUndefined();
      expect(execution.interrupts[1]?.takeEvent()).toEqual({ kind: "init" });
      expect(execution.interrupts[1]?.takeEvent()).toEqual({ kind: "startup", vector: 8 });
    });

    it("brings a lowest-priority interrupt to the one that has least to do", async () => {
      const machine = await buildMachine({ options: { processorCount: 2 } });
      const { bus, execution } = machine;
      for (const processor of [1, 0]) {
        execution.processor = processor;
        bus.mmio.write(apicBase + 0xf0, 4, 0x1ff);
        bus.mmio.write(apicBase + 0xd0, 4, 2 ** (24 + processor));
      }
      bus.mmio.write(apicBase + 0x80, 4, 0x50);
      bus.mmio.write(0xfec0_0000, 4, 0x13);
      bus.mmio.write(0xfec0_0010, 4, 0x0300_0000);
      enableIoapic(machine, 1, 0x0961);
      bus.ports.write(0x60, 1, 0xee);
      expect(execution.interrupts[0]?.pending()).toBe(false);
      expect(execution.interrupts[1]?.acknowledge()).toBe(0x61);
    });

    it("takes single bytes of a register, and writes of whole ones only", async () => {
      const { bus } = await buildMachine();
      bus.mmio.write(apicBase + 0x80, 1, 0x50);
      expect(bus.mmio.read(apicBase + 0x80, 4)).toBe(0);
      expect(bus.mmio.read(apicBase + 0x32, 1)).toBe(0x05);
    });
  });

  describe("with local APICs of the backend", () => {
    it("sends them what the IOAPIC sends, and tells before what it may send", async () => {
      const localApics = new RecordingLocalApics();
      const machine = await buildMachine({ localApics, options: { processorCount: 2 } });
      enableIoapic(machine, 9, 0x8051);
      expect(localApics.routes.get(9)).toMatchObject({ vector: 0x51, trigger: "level" });
      machine.bus.ports.write(0x602, 2, 0x0100);
      machine.machine.powerDown();
      expect(localApics.sent).toEqual([localApics.routes.get(9)]);
      localApics.onEndOfInterrupt(0x51);
      expect(localApics.sent).toHaveLength(2);
      enableIoapic(machine, 9, 0x1_8051);
      expect(localApics.routes.has(9)).toBe(false);
    });

    it("wires the 8259A pair to them", async () => {
      const localApics = new RecordingLocalApics();
      const machine = await buildMachine({ localApics });
      enablePic(machine);
      machine.bus.ports.write(0x21, 1, 0xfe);
      machine.bus.ports.write(0x43, 1, 0x34);
      machine.bus.ports.write(0x40, 1, 0x10);
      machine.bus.ports.write(0x40, 1, 0);
      machine.clock.advance(1_000_000);
      machine.timers.runDue();
      expect(localApics.external?.requested()).toBe(true);
    });

    it("resets, saves and restores each under the id that a board's own has", async () => {
      const localApics = new RecordingLocalApics();
      const { machine } = await buildMachine({ localApics, options: { processorCount: 2 } });
      const apics = machine.devices.filter(({ id }) => id.startsWith("local-apic-"));
      expect(apics.map(({ id }) => id)).toEqual(["local-apic-0", "local-apic-1"]);
      for (const { reset, checkpoint } of apics) {
        reset();
        if (checkpoint.kind === "state") checkpoint.restore(checkpoint.save());
      }
      expect(localApics.calls).toEqual(["reset 0", "save 0", "restore 0", "reset 1", "save 1", "restore 1"]);
      const [own] = (await buildMachine()).machine.devices.filter(({ id }) => id === "local-apic-0");
      expect(own?.checkpoint.kind === "state" && own.checkpoint.schema).toBe(localApicState);
    });
  });

  it("has a port for delays that a backend may take over", async () => {
    const { bus } = await buildMachine();
    expect(bus.ports.ignoredWrites()).toEqual([{ base: 0x80, length: 1 }]);
  });

  it("asks for a reset or shutdown when the guest does", async () => {
    const { bus, requests } = await buildMachine();
    bus.ports.write(0xcf9, 1, 0x0e);
    bus.ports.write(0x64, 1, 0xfe);
    bus.ports.write(0x604, 2, 0x3400);
    expect(requests).toEqual(["reset", "reset", "shutdown"]);
  });

  it("is after a reset of all devices as it was when it was built", async () => {
    const machine = await buildMachine();
    disturb(machine);
    for (const device of machine.machine.devices) device.reset();
    const fresh = states(await buildMachine({ now: machine.clock.now() }));
    expect(states(machine)).toEqual(fresh);
  });

  it("goes on in another process: all states, lines and interrupts", async () => {
    const original = await buildMachine();
    disturb(original);
    const saved = states(original);
    for (const order of ["as built", "reversed"]) {
      const copy = await buildMachine({ now: original.clock.now() });
      const devices: readonly Device[] =
        order === "reversed" ? copy.machine.devices.toReversed() : copy.machine.devices;
      for (const { id, checkpoint } of devices) {
        if (checkpoint.kind === "state") checkpoint.restore(structuredClone(saved[id]) as Record<string, unknown>);
      }
      expect(states(copy), order).toEqual(saved);
      expect(copy.timers.nextDeadline()).toBe(original.timers.nextDeadline());
      expect(copy.execution.interrupts[0]?.acknowledge()).toBe(0x51);
    }
  });

  describe("boot", () => {
    it("puts kernel, tables and entry state where they belong, again after a reset", async () => {
      const folder = scratchFolder();
      const initrd = join(folder, "initrd");
      writeFileSync(initrd, "initrd of the test");
      const options = { kernel: writeKernel(folder), initrd, commandLine: "console=ttyS0" };
      const { machine, memory, execution } = await buildMachine({ options });
      await machine.loadBoot();
      expect(execution.restored.get(0)?.rip).toBe(BigInt(kernelAddress));
      expect([...memory.slice(kernelAddress, 3)]).toEqual([0xf4, 0xeb, 0xfd]);
      const zeroPage = memory.view(0x7000, 4096);
      expect(Number(zeroPage.getBigUint64(0x70, true))).toBe(0xe_0000);
      expect(Buffer.from(memory.slice(0xe_0000, 8)).toString()).toBe("RSD PTR ");
      expect(Buffer.from(memory.slice(zeroPage.getUint32(0x218, true), 18)).toString()).toBe("initrd of the test");
      const tables = Buffer.from(memory.slice(0xe_0000, 0x1000));
      memory.slice(0, memory.size).fill(0xa5);
      await machine.loadBoot();
      expect(Buffer.from(memory.slice(0xe_0000, tables.length)).subarray(0, 0x300)).toEqual(tables.subarray(0, 0x300));
      expect([...memory.slice(kernelAddress, 4)]).toEqual([0xf4, 0xeb, 0xfd, 0]);
    });

    it("tells the kernel what is RAM and what is reserved", () => {
      const gibibyte = 2 ** 30;
      const { usable, reserved } = memoryType;
      expect(memoryMap(layOutRam(4 * gibibyte))).toEqual([
        { address: 0, size: 0x9_fc00, type: usable },
        { address: 0x9_fc00, size: 0x400, type: reserved },
        { address: 0xe_0000, size: 0x2_0000, type: reserved },
        { address: 0x10_0000, size: 3 * gibibyte - 0x10_0000, type: usable },
        { address: 4 * gibibyte, size: gibibyte, type: usable },
      ]);
    });
  });

  describe("devices that a user adds", () => {
    const guid = "00112233-4455-6677-8899-aabbccddeeff";
    const identifier = 0xf_f000;
    const devices = [
      { model: "pvpanic", id: "panic0", properties: {} },
      { model: "vmgenid", id: "generation0", properties: { guid } },
    ];

    it("are in their places, after all others, and the guest's tables have them", async () => {
      const options = { kernel: writeKernel(scratchFolder()), devices };
      const { machine, memory, bus, requests } = await buildMachine({ options });
      expect(machine.devices.map(({ id }) => id).slice(-2)).toEqual(["panic0", "generation0"]);
      await machine.loadBoot();
      expect(Buffer.from(memory.slice(identifier, 16)).toString("hex")).toBe("33221100554477668899aabbccddeeff");
      expect(Buffer.from(memory.slice(0xe_0000, 0x800)).toString("latin1")).toMatch(/QEMU0001.*VM_Gen_Counter.*_E05/s);
      bus.ports.write(bus.ports.read(0x505, 1) === 1 ? 0x505 : 0x80, 1, 1);
      expect(requests).toEqual(["guest-panic"]);
    });

    it("tell of another generation by their event", async () => {
      const { machine, bus } = await buildMachine({
        options: { devices: [{ ...devices[1], properties: {} }] as typeof devices },
      });
      const device = machine.devices.at(-1);
      device?.branched?.();
      expect(bus.ports.read(0x620, 2)).toBe(0);
      device?.resume?.();
      expect(bus.ports.read(0x620, 2)).toBe(1 << 5);
    });

    it("are there once", async () => {
      const twice = [...devices, { model: "vmgenid", id: "generation1", properties: {} }];
      await expect(buildMachine({ options: { devices: twice } })).rejects.toMatchObject({
        code: "ERR_CPR_BOARD_DEVICE",
        message: "at most one vmgenid device is permitted",
      });
    });
  });

  describe("sleep", () => {
    const facs = 0xe_0040;

    /** A machine that has gone to sleep by the type that the tables name for S3, with what its FACS says. */
    async function asleep(vector: number, extended = 0n) {
      const machine = await buildMachine({ options: { kernel: writeKernel(scratchFolder()) } });
      await machine.machine.loadBoot();
      expect(Buffer.from(machine.memory.slice(facs, 4)).toString()).toBe("FACS");
      machine.execution.restored.clear();
      const view = machine.memory.view(facs, 64);
      view.setUint32(12, vector, true);
      view.setBigUint64(24, extended, true);
      machine.bus.ports.write(0x604, 2, 0x2000 | (3 << 10));
      expect(machine.requests).toEqual(["suspend"]);
      expect(machine.machine.sleepDepth).toBe("memory");
      for (const device of machine.machine.devices) device.reset();
      return machine;
    }

    it("ends in real mode where the guest wants, with the event that tells of it", async () => {
      const { machine, execution, bus } = await asleep(0x9_a123);
      expect(await machine.wakeFromMemory()).toBeUndefined();
      const state = execution.restored.get(0);
      expect(state?.segments[1]).toMatchObject({ selector: 0x9a12, base: 0x9_a120n, limit: 0xffff });
      expect([state?.rip, execution.restored.size]).toEqual([3n, 1]);
      expect([bus.ports.read(0x600, 2), bus.ports.read(0x604, 2)]).toEqual([0x8000, 1]);
    });

    it("ends in protected mode at the wider vector, if the guest fills that", async () => {
      const { machine, execution } = await asleep(0x9_a123, 0x12_3456n);
      expect(await machine.wakeFromMemory()).toBeUndefined();
      const state = execution.restored.get(0);
      expect(state).toMatchObject({ rip: 0x12_3456n, rflags: 2n, cr4: 0n, efer: 0n });
      expect([(state?.cr0 ?? 0n) & 0x8000_0001n, state?.segments[1]?.limit]).toEqual([1n, 0xffff_ffff]);
    });

    it.each([
      [0, 0n, /no firmware waking vector/],
      [0x10_0000, 0n, /wants to wake at 0x100000/],
      [0x9_a000, 2n ** 40n, /wants to wake at 0x10000000000/],
    ])("cannot end at 0x%x or 0x%x", async (vector, extended, problem) => {
      const { machine, execution, bus } = await asleep(vector, extended);
      expect(await machine.wakeFromMemory()).toMatch(problem);
      expect([execution.restored.size, bus.ports.read(0x600, 2)]).toEqual([0, 0]);
    });

    it("in standby keeps everything", async () => {
      const { machine, bus } = await buildMachine();
      bus.ports.write(0x604, 2, 0x2000 | (1 << 10));
      expect(machine.sleepDepth).toBe("standby");
    });
  });

  describe("refuses", () => {
    const model = new PcMachineModel();
    const code = (name: string, message: RegExp): unknown =>
      expect.objectContaining({
        code: name,
        message: expect.stringMatching(message),
        hint: expect.stringMatching(/\S/),
      });

    it("to boot without a kernel, but not to wait for a checkpoint without one", async () => {
      await expect(model.check(defaultOptions, 64 * mebibyte)).rejects.toEqual(code("ERR_CPR_NO_KERNEL", /kernel/));
      await expect(model.check({ ...defaultOptions, incoming: true }, 64 * mebibyte)).resolves.toBeUndefined();
    });

    it("files that cannot be read", async () => {
      const folder = scratchFolder();
      const kernel = writeKernel(folder);
      const missing = join(folder, "missing");
      for (const [options, message] of [
        [{ kernel: missing }, /kernel '.*missing': No such file or directory/],
        [{ kernel: folder }, /kernel '.*': Is a directory/],
        [{ kernel, initrd: missing }, /initrd '.*missing': No such file or directory/],
        [{ kernel, initrd: folder }, /initrd '.*': Is a directory/],
      ] as const) {
        const given = { ...defaultOptions, ...options };
        await expect(model.check(given, 64 * mebibyte)).rejects.toEqual(code("ERR_CPR_BOOT_FILE", message));
      }
      await expect(model.check({ ...defaultOptions, kernel }, 64 * mebibyte)).resolves.toBeUndefined();
    });

    it("RAM that does not hold the first megabyte, or kernel and initrd", async () => {
      const folder = scratchFolder();
      const kernel = writeKernel(folder);
      const initrd = join(folder, "initrd");
      writeFileSync(initrd, new Uint8Array(3 * mebibyte));
      const given = { ...defaultOptions, kernel, initrd };
      await expect(model.check(given, mebibyte)).rejects.toEqual(code("ERR_CPR_MACHINE_RAM", /2 MiB/));
      await expect(model.check(given, 4 * mebibyte)).rejects.toEqual(code("ERR_CPR_KERNEL_RAM", /4 MiB/));
      await expect(model.check(given, 8 * mebibyte)).resolves.toBeUndefined();
    });

    it("a kernel that is none, and a command line that is too long", async () => {
      const folder = scratchFolder();
      const text = join(folder, "text");
      writeFileSync(text, "text\n");
      await expect(model.check({ ...defaultOptions, kernel: text }, 64 * mebibyte)).rejects.toEqual(
        code("ERR_CPR_KERNEL_FORMAT", /neither a bzImage nor an ELF file/),
      );
      const long = { ...defaultOptions, kernel: writeKernel(folder), commandLine: "x".repeat(5000) };
      await expect(model.check(long, 64 * mebibyte)).rejects.toEqual(code("ERR_CPR_COMMAND_LINE_LENGTH", /5000/));
    });

    it("more serial ports than there are places", async () => {
      const serial = ["1", "2", "3", "4", "5"];
      await expect(model.check({ ...defaultOptions, serial }, 64 * mebibyte)).rejects.toEqual(
        code("ERR_CPR_SERIAL_COUNT", /4 serial ports; 5/),
      );
    });

    it("a device model that does not make what the board needs", async () => {
      const bare: DeviceModel = {
        name: "ioapic",
        create: ({ id }) => ({ id, reset: () => undefined, checkpoint: { kind: "stateless" } }),
      };
      await expect(buildMachine({ models: [bare] })).rejects.toEqual(
        code("ERR_CPR_DEVICE_CONTRACT", /'ioapic' makes devices without 'input'/),
      );
    });
  });
});
