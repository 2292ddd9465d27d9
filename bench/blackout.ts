import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { CprProcess, FileLines } from "../tools/cpr-process.ts";
import { QmpProcess } from "./peers/qmp-process.ts";
import { since } from "./report.ts";

/** Milliseconds of each part of a checkpoint and restart, and the size of the state file in bytes. */
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
  /** A line on the guest's console: it is far enough to be saved. */
  readonly isReady: (line: string) => boolean;
  /** The options that say what executes it. */
  readonly execution: { readonly cpr: readonly string[]; readonly qemu: readonly string[] };
}

/** Where a run keeps its files, all on tmpfs. */
interface Place {
  readonly ram: string;
  readonly console: string;
  readonly state: string;
}

const ready = (console: string, isReady: Subject["isReady"]): Promise<true> =>
  new FileLines(console).until((line) => (isReady(line) ? true : undefined), 60);

const object = (size: string, ram: string): string[] => [
  ...["-object", `memory-backend-file,id=ram0,size=${size},mem-path=${ram},share=on`, "-m", size],
];

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

async function withCpr(
  { size, guest, isReady, execution }: Subject,
  { ram, console, state }: Place,
): Promise<Blackout> {
  const options = [...execution.cpr, ...object(size, ram), ...guest, "-serial", `file:${console}`];
  const prepare = async (process: CprProcess): Promise<void> => {
    await process.command("migrate_set_parameter mode cpr-reboot");
    await process.command("migrate_set_capability x-ignore-shared on");
  };
  const first = new CprProcess(options);
  await first.ready();
  await ready(console, isReady);
  await prepare(first);
  const begin = performance.now();
  await first.command(`migrate file:${state}`);
  const save = since(begin);
  await first.quit();
  const quit = since(begin) - save;
  const second = new CprProcess([...options, "-incoming", "defer"]);
  await second.ready();
  const start = since(begin) - save - quit;
  const loading = performance.now();
  await prepare(second);
  await second.command(`migrate_incoming file:${state}`);
  const load = since(loading);
  const total = since(begin);
  const status = await second.command("info status");
  if (status !== "VM status: running") throw new Error(`cpr: ${status}`);
  await second.quit();
  return { save, quit, start, load, total, bytes: statSync(state).size };
}

async function withQemu(
  { size, guest, isReady, execution }: Subject,
  { ram, console, state }: Place,
): Promise<Blackout> {
  const options = [
    ...[...execution.qemu, "-machine", "microvm,acpi=off,isa-serial=on,memory-backend=ram0", "-nodefaults"],
    ...["-display", "none", ...guest, "-serial", `file:${console}`],
    ...object(size, ram),
  ];
  const prepare = async (process: QmpProcess): Promise<void> => {
    await process.command("migrate-set-parameters", { mode: "cpr-reboot" });
    await process.command("migrate-set-capabilities", {
      capabilities: [{ capability: "x-ignore-shared", state: true }],
    });
  };
  const first = new QmpProcess(options);
  await first.ready();
  await ready(console, isReady);
  await prepare(first);
  const begin = performance.now();
  await first.command("migrate", { uri: `file:${state}` });
  await first.until("query-status", ({ status }) => status === "postmigrate");
  const save = since(begin);
  await first.quit();
  const quit = since(begin) - save;
  const second = new QmpProcess([...options, "-incoming", "defer"]);
  await second.ready();
  const start = since(begin) - save - quit;
  const loading = performance.now();
  await prepare(second);
  await second.command("migrate-incoming", { uri: `file:${state}` });
  await second.until("query-status", ({ status }) => status === "running");
  const load = since(loading);
  const total = since(begin);
  await second.quit();
  return { save, quit, start, load, total, bytes: statSync(state).size };
}
