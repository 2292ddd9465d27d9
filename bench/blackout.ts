import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
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

/** Bytes on disk. */
const usage = (path: string): number => statSync(path).blocks * 512;

async function withPlace(run: (place: Place) => Promise<Blackout>): Promise<Blackout> {
  const folder = mkdtempSync("/dev/shm/cpr-bench-");
  try {
    return await run({ ram: join(folder, "ram"), console: join(folder, "console"), state: join(folder, "state") });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** From `migrate` to `running` in a new process of `cpr`, RAM in place. */
export const cprBlackout = (subject: Subject): Promise<Blackout> => withPlace((place) => withCpr(subject, place));

/** The same with QEMU's microvm. */
export const qemuBlackout = (subject: Subject): Promise<Blackout> => withPlace((place) => withQemu(subject, place));

async function withCpr(subject: Subject, place: Place): Promise<Blackout> {
  const { state } = place;
  const words = [...subject.execution.cpr, ...memory(subject, place), ...options(subject, place)];
  const give = async (process: CprProcess, line: string): Promise<void> => {
    const answer = await process.command(line);
    if (answer !== "") throw new Error(`cpr: ${line}: ${answer}`);
  };
  const prepare = async (process: CprProcess): Promise<void> => {
    await give(process, "migrate_set_parameter mode cpr-reboot");
    for (const name of capabilitiesOf(subject)) await give(process, `migrate_set_capability ${name} on`);
  };
  const first = new CprProcess(words);
  await first.ready();
  await ready(subject, place);
  await prepare(first);
  const begin = performance.now();
  await give(first, `migrate file:${state}`);
  const save = since(begin);
  await first.quit();
  forget(subject, place);
  const quit = since(begin) - save;
  const second = new CprProcess([...words, "-incoming", "defer"]);
  await second.ready();
  const start = since(begin) - save - quit;
  const loading = performance.now();
  await prepare(second);
  await give(second, `migrate_incoming file:${state}`);
  const load = since(loading);
  const total = since(begin);
  const status = await second.command("info status");
  const expected = subject.isReady === undefined ? "VM status: paused (prelaunch)" : "VM status: running";
  if (status !== expected) throw new Error(`cpr: ${status}`);
  await second.quit();
  return { save, quit, start, load, total, bytes: usage(state) };
}

async function withQemu(subject: Subject, place: Place): Promise<Blackout> {
  const { state } = place;
  const board = `microvm,acpi=off,isa-serial=on${subject.ram === "private" ? "" : ",memory-backend=ram0"}`;
  const words = [
    ...[...subject.execution.qemu, "-machine", board, "-nodefaults", "-display", "none"],
    ...[...options(subject, place), ...memory(subject, place)],
  ];
  const capabilities = capabilitiesOf(subject).map((capability) => ({ capability, state: true }));
  const prepare = async (process: QmpProcess): Promise<void> => {
    // Without limit, as cpr is: at first QEMU writes 128 MiB a second at most.
    await process.command("migrate-set-parameters", { mode: "cpr-reboot", "max-bandwidth": 0 });
    await process.command("migrate-set-capabilities", { capabilities });
  };
  const first = new QmpProcess(words);
  await first.ready();
  await ready(subject, place);
  await prepare(first);
  const begin = performance.now();
  await first.command("migrate", { uri: `file:${state}` });
  await first.until("query-status", ({ status }) => status === "postmigrate");
  const save = since(begin);
  await first.quit();
  forget(subject, place);
  const quit = since(begin) - save;
  const second = new QmpProcess([...words, "-incoming", "defer"]);
  await second.ready();
  const start = since(begin) - save - quit;
  const loading = performance.now();
  await prepare(second);
  await second.command("migrate-incoming", { uri: `file:${state}` });
  await second.until("query-status", ({ status }) => status === "running" || status === "prelaunch");
  const load = since(loading);
  const total = since(begin);
  await second.quit();
  return { save, quit, start, load, total, bytes: usage(state) };
}
