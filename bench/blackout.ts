import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CprProcess, FileLines } from "../tools/cpr-process.ts";
import { QmpProcess } from "./peers/qmp-process.ts";
import { since } from "./report.ts";

/** Milliseconds of each part of a checkpoint and restart, and the bytes on disk that the state file takes. */
export interface Blackout {
  readonly save: number;
  readonly quit: number;
  readonly start: number;
  readonly load: number;
  readonly total: number;
  readonly bytes: number;
}

/** The machine that is saved and restored, the same for `cpr` and QEMU. */
export interface Subject {
  /** The size of its RAM, as `-m` takes it. */
  readonly size: string;
  /** The options that say what guest it is. */
  readonly guest: readonly string[];
  /** A line on the guest's console: it is far enough to be saved. Undefined for a guest that does not begin to run. */
  readonly isReady: ((line: string) => boolean) | undefined;
  /**
   * What its RAM is: `kept`, a file that stays in place; `copied`, a file that is copied, and before that filled by the host with bytes
   * that cannot be compressed; `private` memory, which is copied.
   */
  readonly ram: "kept" | "copied" | "private";
  /** The new process waits before the old one saves, which quits when the guest has gone on: there is no start in between. */
  readonly startsBefore?: boolean;
  /** Capabilities of migration that are on besides. */
  readonly capabilities?: readonly string[];
  /** The options that say what executes it. */
  readonly execution: { readonly cpr: readonly string[]; readonly qemu: readonly string[] };
}

/** Where a run keeps its files, all on tmpfs. */
interface Place {
  readonly ram: string;
  readonly console: string;
  readonly state: string;
}

/** Waits until the guest is far enough. */
async function ready({ isReady, ram }: Subject, place: Place): Promise<void> {
  if (isReady !== undefined) {
    await new FileLines(place.console).until((line) => (isReady(line) ? true : undefined), 120);
  }
  if (ram === "copied") fill(place.ram);
}

/** Fills a file that is there with bytes that cannot be compressed, each page different from its neighbours. */
function fill(path: string): void {
  const bytes = randomFillSync(new Uint8Array(64 << 20));
  const file = openSync(path, "r+");
  for (let left = statSync(path).size; left > 0; ) left -= writeSync(file, bytes, 0, Math.min(left, bytes.length));
  closeSync(file);
}

const memory = ({ size, ram }: Subject, place: Place): string[] =>
  ram === "private"
    ? ["-m", size]
    : ["-object", `memory-backend-file,id=ram0,size=${size},mem-path=${place.ram},share=on`, "-m", size];

const options = ({ guest, isReady }: Subject, { console }: Place): string[] => [
  ...guest,
  ...["-serial", `file:${console}`],
  ...(isReady === undefined ? ["-S"] : []),
];

const capabilitiesOf = ({ ram, capabilities = [] }: Subject): readonly string[] =>
  ram === "kept" ? ["x-ignore-shared", ...capabilities] : capabilities;

/** RAM that was copied is not needed any more: it is as on another host. */
function forget({ ram }: Subject, place: Place): void {
  if (ram !== "kept") rmSync(place.ram, { force: true });
}

async function withPlace(run: (place: Place) => Promise<Blackout>): Promise<Blackout> {
  const folder = mkdtempSync("/dev/shm/cpr-bench-");
  try {
    return await run({ ram: join(folder, "ram"), console: join(folder, "console"), state: join(folder, "state") });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How one of the machines is told what to do. */
interface Side<Process> {
  /** Fulfilled when the process takes commands. */
  start(incoming: boolean): Promise<Process>;
  /** Sets mode and capabilities. */
  prepare(process: Process): Promise<void>;
  save(process: Process): Promise<void>;
  /** Fulfilled when the guest goes on, or would if it had ever run. */
  load(process: Process): Promise<void>;
}

/** From `migrate` to `running` in a new process of `cpr`. */
export const cprBlackout = (subject: Subject): Promise<Blackout> =>
  withPlace((place) => blackout(subject, place, cprSide(subject, place)));

/** The same with QEMU's microvm. */
export const qemuBlackout = (subject: Subject): Promise<Blackout> =>
  withPlace((place) => blackout(subject, place, qemuSide(subject, place)));

async function blackout<Process extends { quit(): Promise<unknown> }>(
  subject: Subject,
  place: Place,
  side: Side<Process>,
): Promise<Blackout> {
  const first = await side.start(false);
  await ready(subject, place);
  await side.prepare(first);
  const waiting = subject.startsBefore === true ? await side.start(true) : undefined;
  // One that was just started is still busy with itself.
  if (waiting !== undefined) await delay(2000);
  const begin = performance.now();
  await side.save(first);
  const save = since(begin);
  if (waiting === undefined) await first.quit();
  forget(subject, place);
  const quit = since(begin) - save;
  const second = waiting ?? (await side.start(true));
  const start = since(begin) - save - quit;
  const loading = performance.now();
  await side.prepare(second);
  await side.load(second);
  const load = since(loading);
  const total = since(begin);
  if (waiting !== undefined) await first.quit();
  await second.quit();
  return { save, quit, start, load, total, bytes: statSync(place.state).blocks * 512 };
}

function cprSide(subject: Subject, place: Place): Side<CprProcess> {
  const words = [...subject.execution.cpr, ...memory(subject, place), ...options(subject, place)];
  const give = async (process: CprProcess, line: string): Promise<void> => {
    const answer = await process.command(line);
    if (answer !== "") throw new Error(`cpr: ${line}: ${answer}`);
  };
  return {
    async start(incoming) {
      const process = new CprProcess(incoming ? [...words, "-incoming", "defer"] : words);
      await process.ready();
      return process;
    },
    async prepare(process) {
      await give(process, "migrate_set_parameter mode cpr-reboot");
      for (const name of capabilitiesOf(subject)) await give(process, `migrate_set_capability ${name} on`);
    },
    save: (process) => give(process, `migrate file:${place.state}`),
    async load(process) {
      await give(process, `migrate_incoming file:${place.state}`);
      const status = await process.command("info status");
      const expected = subject.isReady === undefined ? "VM status: paused (prelaunch)" : "VM status: running";
      if (status !== expected) throw new Error(`cpr: ${status}`);
    },
  };
}

function qemuSide(subject: Subject, place: Place): Side<QmpProcess> {
  const board = `microvm,acpi=off,isa-serial=on${subject.ram === "private" ? "" : ",memory-backend=ram0"}`;
  const words = [
    ...[...subject.execution.qemu, "-machine", board, "-nodefaults", "-display", "none"],
    ...[...options(subject, place), ...memory(subject, place)],
  ];
  const capabilities = capabilitiesOf(subject).map((capability) => ({ capability, state: true }));
  const uri = `file:${place.state}`;
  return {
    async start(incoming) {
      const process = new QmpProcess(incoming ? [...words, "-incoming", "defer"] : words);
      await process.ready();
      return process;
    },
    async prepare(process) {
      // Without limit, as cpr is: at first QEMU writes 128 MiB a second at most.
      await process.command("migrate-set-parameters", { mode: "cpr-reboot", "max-bandwidth": 0 });
      await process.command("migrate-set-capabilities", { capabilities });
    },
    async save(process) {
      await process.command("migrate", { uri });
      await process.until("query-status", ({ status }) => status === "postmigrate");
    },
    async load(process) {
      await process.command("migrate-incoming", { uri });
      await process.until("query-status", ({ status }) => status === "running" || status === "prelaunch");
    },
  };
}
