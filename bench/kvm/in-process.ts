/**
 * `node bench/kvm/in-process.ts stop|pause|save|load PROCESSORS [FILE]`: `cpr` as a library with a guest whose vCPUs all spin; prints
 * milliseconds as JSON. `stop` drives a VM whose machine has a thread of its own, the others drive the machine on this thread.
 * `save` writes the states to a file, from which `load`, in another process, reads them.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { deserialize, serialize } from "node:v8";
import {
  createVirtualMachine,
  type DeviceSection,
  discoverPlugins,
  Kernel,
  MachineHost,
  parseMemoryObject,
  parseMemorySize,
  type VirtualMachineConfiguration,
} from "@cpr/core";
import { since } from "../report.ts";
import { measurePauses } from "./pauses.ts";
import { ramSize, SpinningGuest } from "./spinning-guest.ts";

/** The first time, when nothing of it was executed before, and several times after that. */
export interface Repeated {
  readonly cold: number;
  readonly warm: readonly number[];
}

const [role = "", count = "", file = ""] = process.argv.slice(2);
const processors = Number(count);
const times = 20;

async function repeat(action: () => Promise<unknown>): Promise<Repeated> {
  const measured: number[] = [];
  for (let time = 0; time <= times; time += 1) {
    const begin = performance.now();
    await action();
    measured.push(since(begin));
  }
  const [cold = Number.NaN, ...warm] = measured;
  return { cold, warm };
}

const application = createRequire(import.meta.url).resolve("@cpr/cli/package.json");
await using kernel = new Kernel(discoverPlugins({ application }));
using guest = new SpinningGuest(processors);
const configuration: VirtualMachineConfiguration = {
  name: "bench",
  ramSize: parseMemorySize(ramSize, "M"),
  memoryObjects: [parseMemoryObject(`memory-backend-file,id=ram0,size=${ramSize},mem-path=${guest.ram},share=on`)],
  backend: "kvm",
  machine: { machine: "pc", processorCount: processors, kernel: guest.kernel, serial: ["serial0"], noReboot: true },
  startStopped: true,
  characterDevices: new Map([["serial0", { filename: "null", write: () => undefined }]]),
};

/** The machine on this thread, without anything that drives it. */
async function machineHere(): Promise<MachineHost> {
  let host: MachineHost | undefined;
  await createVirtualMachine(kernel, configuration, {
    startMachine: (onEvent) => {
      host = new MachineHost(kernel, onEvent);
      return host;
    },
  });
  return host as MachineHost;
}

async function measure(): Promise<unknown> {
  if (role === "stop") {
    const machine = await createVirtualMachine(kernel, configuration);
    await machine.cont();
    const pauses = await measurePauses(machine, guest, processors, times);
    await machine.quit();
    return pauses;
  }
  const host = await machineHere();
  if (role === "load") {
    const sections = deserialize(readFileSync(file)) as readonly DeviceSection[];
    return repeat(async () => {
      await host.prepareLoad(sections);
      await host.load("still");
    });
  }
  await host.start();
  if (role === "pause") {
    return measurePauses({ stop: () => host.pause(), cont: () => host.start() }, guest, processors, times);
  }
  await guest.running();
  await host.pause();
  const saved = await repeat(() => host.save());
  writeFileSync(file, serialize(await host.save()));
  return saved;
}

// A machine on this thread does not keep the process alive.
const alive = setInterval(() => undefined, 60_000);
console.log(JSON.stringify(await measure()));
clearInterval(alive);
guest[Symbol.dispose]();
process.exit(0);
