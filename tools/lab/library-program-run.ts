import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  createVirtualMachine,
  type Kernel,
  MachineHost,
  parseMemoryObject,
  parseMemorySize,
  type VirtualMachineConfiguration,
} from "@cpr/core";
import { buildGuestProgram, guestProgramNeeds, type ObservingProgram } from "@cpr/guest-programs";
import { compareObservations, ringDoorbell } from "../guest-program-run.ts";
import { processorDeviations } from "./processor-deviations.ts";

/**
 * Runs a guest program to its end on a machine in this very process, and checks what it observed: where a processor is emulated,
 * the start of a process would take longer than all that the program does.
 *
 * @param seconds - how long the program may take to be ready, if it waits for something
 */
export async function observeHere(
  kernel: Kernel,
  name: ObservingProgram,
  accelerator: string,
  seconds: number,
): Promise<void> {
  const { memory: size, processors, doorbell } = guestProgramNeeds(name);
  const folder = mkdtempSync("/dev/shm/cpr-program-");
  const ram = join(folder, "ram0");
  let said = "";
  const record = (bytes: Uint8Array): undefined => {
    said += Buffer.from(bytes).toString("latin1");
  };
  const configuration: VirtualMachineConfiguration = {
    name,
    ramSize: parseMemorySize(size, "M"),
    memoryObjects: [parseMemoryObject(`memory-backend-file,id=ram0,size=${size},mem-path=${ram},share=on`)],
    backend: accelerator,
    machine: {
      machine: "pc",
      processorCount: processors,
      kernel: buildGuestProgram(name),
      serial: ["serial0"],
      noReboot: true,
    },
    characterDevices: new Map([["serial0", { filename: "text", write: record }]]),
  };
  // A machine on this thread does not keep the process alive.
  const alive = setInterval(() => undefined, 60_000);
  try {
    const machine = await createVirtualMachine(kernel, configuration, {
      startMachine: (onEvent) => new MachineHost(kernel, onEvent),
    });
    if (doorbell !== undefined) {
      const end = performance.now() + seconds * 1000;
      while (!/^ready\r?$/m.test(said)) {
        assert.ok(performance.now() < end, `The program is not ready: ${said}`);
        await delay(20);
      }
      ringDoorbell(ram, doorbell);
    }
    await machine.ended;
    compareObservations(said, name, processors, processorDeviations[name]);
  } finally {
    clearInterval(alive);
    rmSync(folder, { recursive: true });
  }
}
