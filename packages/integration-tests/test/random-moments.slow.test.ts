import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
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
import { processorTime } from "../../../tools/processor-time.ts";
import { loadFromOldProcess, randomNumbers, saveForNewProcess } from "./moves.ts";
import { type ScratchMachine, scratchFolder, scratchMachine } from "./scratch.ts";

/** How many checkpoints there are while the guest boots, at most, and while it is under load; and how often the load repeats itself. */
interface Amount {
  readonly boot: number;
  readonly load: number;
  readonly rounds: number;
}

const sameProcess: Amount = { boot: 60, load: 200, rounds: 200 };
const severalProcessors: Amount = { boot: 60, load: 200, rounds: 100 };
const newProcesses: Amount = { boot: 10, load: 20, rounds: 20 };

const init = (count: number): string => `#!/bin/busybox sh
/self-check ${count}
poweroff -f
`;

/** The load twice at the same time: its last line comes twice, its rounds once. */
const initOfTwo = (count: number): string => `#!/bin/busybox sh
export PATH=/bin
/self-check ${count} >/other &
/self-check ${count}
wait
tail -n 1 /other
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

/** What is to be known of a guest, to choose a moment. */
interface Progress {
  /** What it has said so far. */
  text(): string;
  /** How much processor time it has used so far, in seconds: how busy this machine is does not count. */
  processorTime(): number;
  hasEnded(): boolean;
}

/**
 * Waits for the moment of each checkpoint: random ones from the first instruction of the boot on, then random ones in rounds of the
 * load that are evenly spread over it. Ends when there is no more to wait for, or when the guest has ended.
 *
 * @param most - how much of its processor time goes by before a checkpoint at most, in seconds
 */
async function* randomMoments({ boot, load, rounds }: Amount, most: number, seed: number, guest: Progress) {
  const random = randomNumbers(seed);
  const round = (): number => Number([...guest.text().matchAll(/^round (\d+)\r?$/gm)].at(-1)?.[1] ?? -1);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!guest.hasEnded() && !condition()) await delay(1);
  };
  const randomTime = async (): Promise<void> => {
    const moment = guest.processorTime() + random() * most;
    await until(() => guest.processorTime() >= moment);
  };
  for (let index = 0; index < boot; index++) {
    await randomTime();
    if (guest.hasEnded() || round() >= 0) break;
    yield;
  }
  for (let index = 0; index < load; index++) {
    const next = Math.floor((index * rounds) / load);
    await until(() => round() >= next);
    await randomTime();
    if (guest.hasEnded()) return;
    yield;
  }
}

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
    { processorCount: 1, script: init, amount: sameProcess },
    { processorCount: 2, script: initOfTwo, amount: severalProcessors },
  ])(
    "ends with the right answer after hundreds of them in the same process, with $processorCount vCPUs",
    {
      timeout: 900_000,
    },
    async ({ processorCount, script, amount }) => {
      const folder = scratchFolder();
      const { kernel: image, initrd, expected } = await selfChecking(folder, amount.rounds, script);
      const plugins = discoverPlugins({ application: join(cprCommand, "../../package.json") });
      await using kernel = new Kernel(plugins);
      let text = "";
      const record = (bytes: Uint8Array): undefined => {
        text += Buffer.from(bytes).toString("latin1");
      };
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
        characterDevices: new Map([["serial0", { filename: "text", write: record }]]),
      };
      const machine = await createVirtualMachine(kernel, configuration, {
        startMachine: (onEvent) => {
          control = new MachineThread({ plugins, preload: [] }, onEvent);
          return control;
        },
      });
      onTestFinished(() => machine.quit());
      let checkpoints = 0;
      const guest: Progress = {
        text: () => text,
        processorTime: () => processorTime(process.pid),
        hasEnded: () => machine.runState === "shutdown",
      };
      for await (const _moment of randomMoments(amount, 0.04, 1, guest)) {
        try {
          await saveAndLoad(control as MachineControl);
        } catch (error) {
          // The guest may power off while it is saved, which ends the machine.
          if (!guest.hasEnded()) throw error;
          break;
        }
        checkpoints += 1;
      }
      await machine.ended;
      const answers = text.split(/\r*\n/).filter((line) => line === expected);
      expect(answers).toHaveLength(processorCount);
      expect(checkpoints).toBeGreaterThan(amount.load);
    },
  );

  it("ends with the right answer after dozens of them in as many new processes", { timeout: 900_000 }, async () => {
    const { options, kernel, expected } = await selfChecking(scratchFolder(), newProcesses.rounds);
    const machine = scratchMachine(kernel, { size: "128M" });
    const consoleOf = (part: number) =>
      machine.options(options).map((word) => (word.startsWith("file:") ? `${word}.${part}` : word));
    let process = new CprProcess([...consoleOf(0), "-no-reboot"]);
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    let text = "";
    let part = 0;
    let ended = 0;
    void process.ended.then(() => (ended += 1));
    const guest: Progress = {
      text: () => text + consoleText(machine, part),
      processorTime: () => processorTime(process.pid),
      hasEnded: () => ended > part,
    };
    for await (const _moment of randomMoments(newProcesses, 0.4, 2, guest)) {
      if (!(await saveForNewProcess(process, `file:${machine.state}`))) break;
      await process.quit();
      text += consoleText(machine, part);
      part += 1;
      process = new CprProcess([...consoleOf(part), "-no-reboot", "-incoming", "defer"]);
      void process.ended.then(() => (ended += 1));
      await process.ready();
      await loadFromOldProcess(process, `file:${machine.state}`);
    }
    expect((await process.ended).status).toBe(0);
    text += consoleText(machine, part);
    expect(text.replaceAll("\r", "")).toContain(`\n${expected}\n`);
    expect(part).toBeGreaterThan(newProcesses.load);
  });
});
