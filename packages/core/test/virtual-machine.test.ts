import { afterEach, describe, expect, it } from "vitest";
import type { CharacterBackend, CharacterDeviceGuest } from "../src/index.ts";
import { fakeVirtualMachine, instructions, recorder, type, until } from "./fakes/fake-machine.ts";
import { brokenMemory, discardedMemory, openMemory } from "./fakes/fake-plugin.ts";

const names = (events: readonly { event: string }[]): string[] => events.map(({ event }) => event);

afterEach(() => {
  brokenMemory.clear();
  discardedMemory.length = 0;
});

for (const thread of [false, true]) {
  describe(thread ? "a VM on a thread of its own" : "a VM on this thread", () => {
    it("runs, stops and goes on", async () => {
      const { machine, events } = await fakeVirtualMachine({ thread });
      expect(machine.runState).toBe("running");
      await until(async () => (await instructions(machine)) > 10, "counting");
      await machine.stop();
      expect(machine.runState).toBe("paused");
      const counted = await instructions(machine);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await instructions(machine)).toBe(counted);
      await machine.cont();
      await until(async () => (await instructions(machine)) > counted, "going on");
      expect(names(events)).toEqual(["STOP", "RESUME"]);
      await machine.quit();
      expect(await machine.ended).toEqual({ reason: "quit" });
      expect(openMemory.size).toBe(0);
    });

    it("hands input to the guest and its output to the host, all of it before stop is answered", async () => {
      const { machine, output } = await fakeVirtualMachine({ thread });
      type(machine, "hello ");
      type(machine, "world");
      await machine.stop();
      expect(output()).toBe("hello world");
      await machine.quit();
    });

    it("tells the guest who is at the other end, and the host whether the guest listens", async () => {
      const pieces: Uint8Array[] = [];
      let guest: CharacterDeviceGuest | undefined;
      const backend: CharacterBackend = {
        ...recorder(pieces),
        opened: false,
        connect: (each) => {
          guest = each;
        },
      };
      const machineOptions = { machine: "fake", processorCount: 1, serial: ["serial0"], commandLine: "deaf=yes" };
      const characterDevices = new Map([["serial0", backend]]);
      const { machine } = await fakeVirtualMachine({
        thread,
        configuration: { machine: machineOptions, characterDevices },
      });
      const listening = () => machine.queryCharacterDevices().map((device) => device.listening);
      expect(machine.queryCharacterDevices()).toEqual([{ id: "serial0", filename: "recorder", listening: false }]);
      guest?.setOpened(true);
      await guest?.input(Buffer.from("bye"));
      guest?.setOpened(false);
      await until(() => Buffer.concat(pieces).toString() === "(opened)bye(closed)", "all that happened");
      expect(listening()).toEqual([true]);
      await machine.quit();
    });

    it("ends when the guest shuts down", async () => {
      const { machine, events } = await fakeVirtualMachine({ thread });
      type(machine, "S");
      expect(await machine.ended).toEqual({ reason: "shutdown" });
      expect(events.at(-1)).toEqual({ event: "SHUTDOWN", guest: true, reason: "guest-shutdown" });
      expect(machine.runState).toBe("shutdown");
      await expect(machine.cont()).rejects.toMatchObject({ code: "ERR_CPR_ENDED" });
    });

    it("starts again when the guest resets, or triple-faults", async () => {
      const { machine, events } = await fakeVirtualMachine({ thread });
      // RESET is told before the machine starts again, so this is asked before it counts again.
      const counted: Promise<number>[] = [];
      machine.on(({ event }) => event === "RESET" && counted.push(instructions(machine)));
      for (const [round, letter] of ["R", "T"].entries()) {
        await until(async () => (await instructions(machine)) > 100, "counting");
        type(machine, letter);
        await until(() => counted.length === round + 1, "a reset");
        expect(await counted[round]).toBe(0);
        await until(async () => (await instructions(machine)) > 0, "a new start");
        expect(machine.runState).toBe("running");
      }
      expect(events.every((each) => each.event !== "RESET" || each.guest)).toBe(true);
      await machine.quit();
    });

    it("tells an error of the machine as its own, with its code", async () => {
      await expect(fakeVirtualMachine({ thread, kernel: "unbuildable" })).rejects.toMatchObject({
        code: "ERR_CPR_FAKE_BUILD",
        message: "the machine cannot be built",
      });
      await expect(fakeVirtualMachine({ thread, kernel: "unloadable" })).rejects.toMatchObject({
        code: "ERR_CPR_FAKE_BOOT",
      });
      expect(openMemory.size).toBe(0);
    });
  });
}

describe("a VM", () => {
  it("waits in prelaunch if it is told to", async () => {
    const { machine } = await fakeVirtualMachine({ configuration: { startStopped: true } });
    expect(machine.runState).toBe("prelaunch");
    expect(await instructions(machine)).toBe(0);
    await machine.cont();
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("fulfils a request of the guest that was made while it was being stopped when it goes on", async () => {
    const { machine, events } = await fakeVirtualMachine({ thread: true });
    // The thread gets both calls before this side hears of the request.
    type(machine, "S");
    await machine.stop();
    expect(machine.runState).toBe("paused");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(names(events)).toEqual(["STOP"]);
    await machine.cont();
    expect(await machine.ended).toEqual({ reason: "shutdown" });
    expect(names(events)).toEqual(["STOP", "RESUME", "SHUTDOWN"]);
  });

  it("ends at a reset with -no-reboot", async () => {
    const { machine, events } = await fakeVirtualMachine({
      configuration: { machine: { machine: "fake", processorCount: 1, serial: ["serial0"], noReboot: true } },
    });
    type(machine, "R");
    expect(await machine.ended).toEqual({ reason: "reset" });
    expect(events).toContainEqual({ event: "SHUTDOWN", guest: true, reason: "guest-reset" });
  });

  it("tells of a panic, then ends", async () => {
    const { machine, events } = await fakeVirtualMachine();
    type(machine, "P");
    expect(await machine.ended).toEqual({ reason: "shutdown" });
    expect(names(events)).toEqual(["GUEST_PANICKED", "SHUTDOWN"]);
  });

  it("tells that the guest has opened a port that was closed", async () => {
    const { machine, events } = await fakeVirtualMachine({ commandLine: "deaf=yes" });
    expect(events).toEqual([]);
    type(machine, "a");
    await until(() => events.length > 0, "the event");
    expect(events).toEqual([{ event: "VSERPORT_CHANGE", id: "echo0", open: true }]);
    await machine.quit();
  });

  it("tells of a driver that breaks a device's rules, at first and not each time, and goes on", async () => {
    const { machine, events } = await fakeVirtualMachine();
    type(machine, "VV");
    await until(() => events.length > 0, "the event");
    const before = await instructions(machine);
    await until(async () => (await instructions(machine)) > before, "counting");
    expect(events).toEqual([
      {
        ...{ event: "DEVICE_NEEDS_RESET", device: "echo0", reason: "an odd request" },
        report: "the guest's driver of the device 'echo0' has broken a rule, and has to reset it: an odd request",
      },
    ]);
    await machine.quit();
  });

  it("stands still when the backend gives up, until it is reset", async () => {
    const { machine, events } = await fakeVirtualMachine();
    type(machine, "I");
    await until(() => machine.runState === "internal-error", "the error");
    expect(events).toEqual([{ event: "INTERNAL_ERROR", report: "an odd instruction" }]);
    await expect(machine.cont()).rejects.toMatchObject({
      code: "ERR_CPR_RESET_REQUIRED",
      message: "Resetting the Virtual Machine is required",
    });
    await machine.reset();
    expect(machine.runState).toBe("prelaunch");
    await machine.cont();
    await until(async () => (await instructions(machine)) > 10, "counting");
    await machine.quit();
  });

  it("ends when its thread dies, and says why", async () => {
    const { machine, events } = await fakeVirtualMachine({ thread: true });
    type(machine, "X");
    expect(await machine.ended).toEqual({ reason: "internal-error" });
    expect(events).toEqual([{ event: "INTERNAL_ERROR", report: "The machine thread failed: a plugin with a fault" }]);
    expect(openMemory.size).toBe(0);
    await expect(machine.stop()).rejects.toMatchObject({ code: "ERR_CPR_ENDED" });
  });

  it("sleeps and wakes", async () => {
    const { machine, events } = await fakeVirtualMachine();
    await expect(machine.wakeUp()).rejects.toMatchObject({
      code: "ERR_CPR_NOT_SUSPENDED",
      message: "Unable to wake up: guest is not in suspended state",
    });
    type(machine, "Z");
    await until(() => machine.runState === "suspended", "sleep");
    await machine.stop();
    expect(machine.runState).toBe("paused");
    await machine.cont();
    expect(machine.runState).toBe("suspended");
    await machine.wakeUp();
    expect(machine.runState).toBe("running");
    expect(names(events)).toEqual(["SUSPEND", "STOP", "RESUME", "WAKEUP"]);
    const counted = await instructions(machine);
    await until(async () => (await instructions(machine)) > counted, "going on");
    await machine.quit();
  });

  it("begins anew apart from its RAM when it wakes from a sleep that kept nothing else", async () => {
    const { machine, events } = await fakeVirtualMachine({ commandLine: "deep" });
    await until(async () => (await instructions(machine)) > 10, "counting");
    type(machine, "Z");
    await until(() => machine.runState === "suspended", "sleep");
    expect(await instructions(machine)).toBeGreaterThan(10);
    // WAKEUP is told before the machine starts again, so this is asked before it counts again.
    const counted: Promise<number>[] = [];
    machine.on(({ event }) => event === "WAKEUP" && counted.push(instructions(machine)));
    await machine.wakeUp();
    expect(await Promise.all(counted)).toEqual([0]);
    expect(machine.runState).toBe("running");
    expect(names(events)).toEqual(["SUSPEND", "WAKEUP"]);
    await until(async () => (await instructions(machine)) > 0, "going on");
    await machine.quit();
  });

  it("is reset when it wakes and cannot go on", async () => {
    const { machine, events } = await fakeVirtualMachine({ commandLine: "deep lost" });
    type(machine, "Z");
    await until(() => machine.runState === "suspended", "sleep");
    await machine.wakeUp();
    expect(machine.runState).toBe("running");
    expect(events).toEqual([
      { event: "SUSPEND" },
      { event: "WAKEUP" },
      { event: "RESET", guest: true, report: "the guest is lost" },
    ]);
    await machine.quit();
  });

  it("is reset while it runs and while it stands", async () => {
    const { machine, events } = await fakeVirtualMachine();
    await machine.reset();
    expect(machine.runState).toBe("running");
    await machine.stop();
    await machine.reset();
    expect(machine.runState).toBe("prelaunch");
    expect(await instructions(machine)).toBe(0);
    await machine.cont();
    expect(names(events)).toEqual(["RESET", "STOP", "RESET", "RESUME"]);
    await machine.quit();
  });

  it("shuts down when its power button is pressed and the guest listens", async () => {
    const { machine, events } = await fakeVirtualMachine();
    await machine.powerDown();
    expect(await machine.ended).toEqual({ reason: "shutdown" });
    expect(names(events)).toEqual(["POWERDOWN", "SHUTDOWN"]);
  });

  it("refuses input for a character device that it does not have", async () => {
    const { machine } = await fakeVirtualMachine();
    await expect(machine.input("nowhere", new Uint8Array(1))).rejects.toThrow("Character device 'nowhere' not found");
    await machine.quit();
  });

  it("ends once, however often it is told to", async () => {
    const { machine, events } = await fakeVirtualMachine({ thread: true });
    await Promise.all([machine.quit(), machine.quit()]);
    await machine.quit();
    expect(names(events)).toEqual(["SHUTDOWN"]);
  });
});

describe("making a VM", () => {
  it.each([
    ["a kernel that is missing", { kernel: "missing" }, "ERR_CPR_FAKE_KERNEL"],
    [
      "no such machine",
      { configuration: { machine: { machine: "none", processorCount: 1, serial: [] } } },
      "ERR_CPR_NO_MACHINE",
    ],
    ["no such backend", { configuration: { backend: "none" } }, "ERR_CPR_NO_BACKEND"],
    ["no such CPU model", { configuration: { processorModel: "none" } }, "ERR_CPR_PROCESSOR_MODEL"],
    [
      "too many vCPUs",
      { configuration: { machine: { machine: "fake", processorCount: 5, serial: [] } } },
      "ERR_CPR_PROCESSOR_COUNT",
    ],
    ["too much RAM", { size: 2 ** 31 }, "ERR_CPR_RAM_TOO_LARGE"],
    ["RAM of a broken page", { size: 5000 }, "ERR_CPR_MEMORY_SIZE"],
    ["no RAM", { size: 0 }, "ERR_CPR_MEMORY_SIZE"],
    ["a memory type that nobody provides", { type: "memory-backend-none" }, "ERR_CPR_MEMORY_TYPE"],
    ["another size than -m", { configuration: { ramSize: 4096 } }, "ERR_CPR_MEMORY_RAM_SIZE"],
    ["an object that is not there", { configuration: { ramObject: "none" } }, "ERR_CPR_MEMORY_OBJECT_MISSING"],
  ])("refuses %s", async (_what, options, code) => {
    await expect(fakeVirtualMachine(options)).rejects.toMatchObject({ code });
    expect(openMemory.size).toBe(0);
  });

  it("releases everything when memory is in use", async () => {
    brokenMemory.add("ram0");
    await expect(fakeVirtualMachine({ thread: true })).rejects.toMatchObject({ code: "ERR_CPR_FAKE_MEMORY" });
    expect(openMemory.size).toBe(0);
  });

  it("takes private RAM if there is no memory object", async () => {
    const { machine } = await fakeVirtualMachine({ configuration: { memoryObjects: [] } });
    expect(machine.queryMemory()).toEqual([
      { id: "pc.ram", size: 1 << 20, share: false, prealloc: false, location: "private" },
    ]);
    await machine.quit();
  });

  it("leaves no memory behind in which no guest has run", async () => {
    const { machine: ran } = await fakeVirtualMachine();
    await ran.quit();
    expect(discardedMemory).toEqual([]);
    const { machine: waited } = await fakeVirtualMachine({ incoming: "defer" });
    await expect(waited.migrateIncoming("store:nowhere")).rejects.toMatchObject({ code: "ERR_CPR_FAKE_OPEN" });
    expect(discardedMemory).toEqual([]);
    await waited.quit();
    expect(discardedMemory).toEqual(["ram0"]);
    await expect(fakeVirtualMachine({ kernel: "unbuildable" })).rejects.toMatchObject({ code: "ERR_CPR_FAKE_BUILD" });
    expect(discardedMemory).toEqual(["ram0", "ram0"]);
    expect(openMemory.size).toBe(0);
  });

  it("fails and releases everything when the checkpoint named with -incoming cannot be loaded", async () => {
    await expect(fakeVirtualMachine({ incoming: "store:nowhere" })).rejects.toMatchObject({
      code: "ERR_CPR_FAKE_OPEN",
    });
    expect(openMemory.size).toBe(0);
  });
});
