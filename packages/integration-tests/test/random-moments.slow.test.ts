import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  createVirtualMachine,
  discoverPlugins,
  Kernel,
  type MachineControl,
  MachineThread,
  type VirtualMachineConfiguration,
} from "@cpr/core";
import { buildLinuxProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, cprCommand } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadFromOldProcess, randomNumbers, saveForNewProcess } from "./moves.ts";
import { type ScratchMachine, scratchFolder, scratchMachine } from "./scratch.ts";

/** How often the load repeats itself: long enough for the number of checkpoints that a test asks for. */
const rounds = { sameProcess: 300, severalProcessors: 150, newProcesses: 40 };

const init = (count: number): string => `#!/bin/busybox sh
/self-check ${count}
poweroff -f
`;

/** The load twice at the same time: its last line comes twice. */
const initOfTwo = (count: number): string => `#!/bin/busybox sh
export PATH=/bin
/self-check ${count} >/first &
/self-check ${count} >/second
wait
tail -n 1 /first
tail -n 1 /second
poweroff -f
`;

/** Kernel options and the last line that the load must print, as it does on the host itself. */
async function selfChecking(
  folder: string,
  count: number,
  script: (count: number) => string = init,
): Promise<{ options: string[]; kernel: string; initrd: string; expected: string }> {
  const { kernel, busybox } = await guestAssets();
  const program = buildLinuxProgram("self-check");
  const initrd = join(folder, "self-check.cpio");
  const entry = { path: "self-check", kind: "file", data: readFileSync(program), mode: 0o755 } as const;
  writeFileSync(initrd, busyboxInitramfs(readFileSync(busybox), script(count), [entry]));
  const expected = execFileSync(program, [String(count)], { encoding: "utf8" })
    .trim()
    .split("\n")
    .at(-1) as string;
  return { options: ["-initrd", initrd, "-append", commandLine], kernel, initrd, expected };
}

const commandLine = "console=ttyS0 cryptomgr.notests panic=-1";

/** Stops a machine, takes its states and puts them back, and lets it go on. */
async function saveAndLoad(machine: MachineControl): Promise<void> {
  await machine.pause();
  const sections = await machine.save();
  await machine.prepareLoad(sections);
  await machine.load("still");
  // The section of the machine has the time at which it was saved.
  const parts = (all: typeof sections) => all.filter(({ id }) => id !== "machine");
  expect(parts(await machine.save())).toEqual(parts(sections));
  await machine.start();
}

const consoleText = (machine: ScratchMachine, part: number): string =>
  readFileSync(`${machine.console}.${part}`, "latin1");

describe("checkpoints at random moments, from the first instruction of the boot to the end of a self-checking load", () => {
  it.each([
    { processorCount: 1, script: init, count: rounds.sameProcess },
    { processorCount: 2, script: initOfTwo, count: rounds.severalProcessors },
  ])(
    "ends with the right answer after hundreds of them in the same process, with $processorCount vCPUs",
    {
      timeout: 600_000,
    },
    async ({ processorCount, script, count }) => {
      const folder = scratchFolder();
      const { kernel: image, initrd, expected } = await selfChecking(folder, count, script);
      const plugins = discoverPlugins({ application: join(cprCommand, "../../package.json") });
      await using kernel = new Kernel(plugins);
      let text = "";
      let control: MachineControl | undefined;
      const configuration: VirtualMachineConfiguration = {
        name: "random-moments",
        ramSize: 128 * 1024 * 1024,
        memoryObjects: [],
        backend: "interp",
        machine: {
          machine: "pc",
          processorCount,
          kernel: image,
          initrd,
          commandLine,
          serial: ["serial0"],
          noReboot: true,
        },
        characterDevices: new Map([["serial0", { write: (bytes) => (text += Buffer.from(bytes).toString("latin1")) }]]),
      };
      const machine = await createVirtualMachine(kernel, configuration, {
        startMachine: (onEvent) => {
          control = new MachineThread({ plugins, preload: [] }, onEvent);
          return control;
        },
      });
      onTestFinished(() => machine.quit());
      const random = randomNumbers(1);
      let checkpoints = 0;
      const isOff = (): boolean => machine.runState === "shutdown";
      while (!isOff()) {
        await new Promise((resolve) => setTimeout(resolve, 1 + random() * 60));
        try {
          await saveAndLoad(control as MachineControl);
        } catch (error) {
          // The guest may power off while it is saved, which ends the machine.
          if (!isOff()) throw error;
          break;
        }
        checkpoints += 1;
      }
      await machine.ended;
      const answers = text.split(/\r*\n/).filter((line) => line === expected);
      expect(answers).toHaveLength(processorCount);
      expect(checkpoints).toBeGreaterThan(200);
    },
  );

  it("ends with the right answer after dozens of them in as many new processes", { timeout: 900_000 }, async () => {
    const { options, kernel, expected } = await selfChecking(scratchFolder(), rounds.newProcesses);
    const machine = scratchMachine(kernel, { size: "128M" });
    const random = randomNumbers(2);
    const consoleOf = (part: number) =>
      machine.options(options).map((word) => (word.startsWith("file:") ? `${word}.${part}` : word));
    let process = new CprProcess([...consoleOf(0), "-no-reboot"]);
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    let text = "";
    let part = 0;
    for (;;) {
      await Promise.race([process.ended, new Promise((resolve) => setTimeout(resolve, 30 + random() * 200))]);
      if (!(await saveForNewProcess(process, `file:${machine.state}`))) break;
      await process.quit();
      text += consoleText(machine, part);
      part += 1;
      process = new CprProcess([...consoleOf(part), "-no-reboot", "-incoming", "defer"]);
      await process.ready();
      await loadFromOldProcess(process, `file:${machine.state}`);
    }
    text += consoleText(machine, part);
    expect(text.replaceAll("\r", "")).toContain(`\n${expected}\n`);
    expect(part).toBeGreaterThan(20);
  });
});
