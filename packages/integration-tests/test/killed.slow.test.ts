import { readFileSync } from "node:fs";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { DebianArchiveError } from "../../../tools/debian-archive.ts";
import { expectOneMoment } from "./one-moment.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";
import { attachStrace, findStrace, type Strace } from "./strace.ts";

const kernel = buildGuestProgram("pages");

/**
 * All that changes a checkpoint and what belongs to it. Each is a moment at which a process can be killed.
 *
 * NOTE: strace counts them for each thread, and the main thread makes the most. `write` is not among them: the console's lines and
 * what wakes threads up are written with it, any number of times.
 */
const changes = [
  ...["openat", "close", "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate", "fchmod"],
  ...["link", "rename", "unlink", "msync", "fcntl"],
];
/** The same with the reads of a load. */
const changesAndReads = [...changes, "read", "pread64", "preadv", "write"];

/** Every call at first, where opening and naming happens, then fewer and fewer: reads and writes of RAM are many and alike. */
const after = (number: number): number => number + 1 + Math.floor(number / 8);

/** How the VM of a test is set up, the same in each process. */
interface Setup {
  readonly machine: ScratchMachine;
  readonly inPlace: boolean;
  readonly capabilities: readonly string[];
}

const uri = ({ machine }: Setup): string => `file:${machine.state}`;

async function begin({ machine, capabilities }: Setup, ...more: string[]): Promise<CprProcess> {
  // What the main thread does not do itself is done by one other thread, so that all of it has one order.
  const process = new CprProcess(machine.options(more), { UV_THREADPOOL_SIZE: "1" });
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  await process.command("migrate_set_parameter mode cpr-reboot");
  for (const name of capabilities) expect(await process.command(`migrate_set_capability ${name} on`)).toBe("");
  return process;
}

/** The guest has changed its RAM since. */
async function untilBusy({ machine }: Setup): Promise<void> {
  await new FileLines(machine.console).until((line) => (line === "B" ? true : undefined), 30);
}

/**
 * Gives a command to a process, which is killed before a thread of it makes its system call of that number among `calls`, or else
 * when it has answered.
 *
 * @returns the command's answer, or undefined if the process was killed before
 */
async function killedAt(
  strace: Strace,
  process: CprProcess,
  number: number,
  calls: readonly string[],
  command: string,
): Promise<string | undefined> {
  const names = calls.join();
  const tracer = await attachStrace(strace, process.pid, [
    `trace=${names}`,
    `inject=${names}:signal=SIGKILL:when=${number}`,
  ]);
  const answer = await process.command(command).catch(() => undefined);
  process.kill("SIGKILL");
  expect((await process.ended).signal).toBe("SIGKILL");
  tracer.kill("SIGKILL");
  return answer;
}

/** What a new process makes of what is there: it goes on with the guest, or says why not. */
async function carryOn(setup: Setup): Promise<{ process: CprProcess; outcome: "loads" | "moved on" }> {
  const process = await begin(setup, "-incoming", "defer");
  const answer = await process.command(`migrate_incoming ${uri(setup)}`);
  if (answer === "") {
    await untilBusy(setup);
    await process.command("stop");
    // A state that does not belong to this RAM would go on somewhere else in it, which makes another step.
    if (setup.inPlace) expectOneMoment(readFileSync(setup.machine.ram));
    return { process, outcome: "loads" };
  }
  expect(answer).toMatch(
    /^Error: The RAM in '.*' \(memory object 'ram0'\) does not belong to this checkpoint: it was used since/,
  );
  expect(await process.command("info status")).toBe("VM status: paused (inmigrate)");
  return { process, outcome: "moved on" };
}

/** A guest that runs. */
interface Guest {
  readonly setup: Setup;
  readonly process: CprProcess;
}

async function boot(inPlace: boolean, capabilities: readonly string[]): Promise<Guest> {
  const setup: Setup = { machine: scratchMachine(kernel), inPlace, capabilities };
  const process = await begin(setup);
  await untilBusy(setup);
  return { setup, process };
}

/** Lets a guest that was carried on run: it serves for what is tried next. One that has moved on is given up. */
async function goOn(setup: Setup, process: CprProcess, outcome: "loads" | "moved on"): Promise<Guest | undefined> {
  if (outcome === "loads") {
    await process.command("cont");
    return { setup, process };
  }
  await process.quit();
  return undefined;
}

/** The host's strace, or the reason why there is none. */
async function straceOr(skip: (reason: string) => never): Promise<Strace> {
  return findStrace().catch((error: unknown) => {
    if (error instanceof DebianArchiveError) return skip(error.message);
    throw error;
  });
}

const placements = [
  ["in place", true, ["x-ignore-shared"]],
  ["copied", false, []],
  ["copied by threads", false, ["mapped-ram", "multifd"]],
] as const;

describe("a process that is killed while it saves", () => {
  it.for(placements)(
    "leaves RAM %s and checkpoints that fit, or a refusal",
    { timeout: 300_000 },
    async ([, inPlace, capabilities], { skip }) => {
      const strace = await straceOr(skip);
      const outcomes: string[] = [];
      let guest: Guest | undefined;
      for (let number = 1; ; number = after(number)) {
        guest ??= await boot(inPlace, capabilities);
        const { setup, process }: Guest = guest;
        // An older checkpoint, after which the guest has gone on.
        expect(await process.command(`migrate ${uri(setup)}`)).toBe("");
        await process.command("cont");
        const answer = await killedAt(strace, process, number, changes, `migrate ${uri(setup)}`);
        if (answer !== undefined) {
          expect(answer).toBe("");
          break;
        }
        const { process: next, outcome } = await carryOn(setup);
        outcomes.push(outcome);
        guest = await goOn(setup, next, outcome);
      }
      // The older one or the newer one, whole. With RAM in place, the older one has lost its RAM when the guest went on.
      expect(new Set(outcomes)).toEqual(new Set(inPlace ? ["moved on", "loads"] : ["loads"]));
    },
  );
});

describe("a process that is killed while it loads", () => {
  it.for(placements)(
    "leaves RAM %s and the checkpoint as they were",
    { timeout: 300_000 },
    async ([, inPlace, capabilities], { skip }) => {
      const strace = await straceOr(skip);
      const setup: Setup = { machine: scratchMachine(kernel), inPlace, capabilities };
      const process = await begin(setup);
      await untilBusy(setup);
      expect(await process.command(`migrate ${uri(setup)}`)).toBe("");
      await process.quit();
      let kills = 0;
      for (let number = 1; ; number = after(number)) {
        const next = await begin(setup, "-incoming", "defer");
        // Otherwise the guest runs at the end, and RAM moves on.
        await next.command("stop");
        const answer = await killedAt(strace, next, number, changesAndReads, `migrate_incoming ${uri(setup)}`);
        if (answer !== undefined) {
          expect(answer).toBe("");
          break;
        }
        kills += 1;
      }
      expect(kills).toBeGreaterThan(5);
      expect((await carryOn(setup)).outcome).toBe("loads");
    },
  );

  it("has begun to run the guest on RAM in place, or can do so again", { timeout: 300_000 }, async ({ skip }) => {
    const strace = await straceOr(skip);
    const outcomes: string[] = [];
    let guest: Guest | undefined;
    for (let number = 1; ; number = after(number)) {
      guest ??= await boot(true, ["x-ignore-shared"]);
      const { setup, process }: Guest = guest;
      expect(await process.command(`migrate ${uri(setup)}`)).toBe("");
      await process.quit();
      const next = await begin(setup, "-incoming", "defer");
      if ((await killedAt(strace, next, number, changesAndReads, `migrate_incoming ${uri(setup)}`)) !== undefined)
        break;
      const { process: last, outcome } = await carryOn(setup);
      outcomes.push(outcome);
      guest = await goOn(setup, last, outcome);
    }
    expect(outcomes.length).toBeGreaterThan(5);
    expect(outcomes[0]).toBe("loads");
  });
});
