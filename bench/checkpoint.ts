import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { CprProcess, cprCommand, FileLines } from "../tools/cpr-process.ts";
import { guestAssets } from "../tools/guest-assets.ts";
import { root } from "../tools/workspace.ts";
import { ensureQemu } from "./peers/machines.ts";
import { QmpProcess } from "./peers/qmp-process.ts";
import { median, type Report, table } from "./report.ts";

/** Milliseconds of each part of a checkpoint and restart, and the size of the state file in bytes. */
interface Blackout {
  readonly save: number;
  readonly quit: number;
  readonly start: number;
  readonly load: number;
  readonly total: number;
  readonly bytes: number;
}

/** Where a run keeps its files, all on tmpfs. */
interface Place {
  readonly ram: string;
  readonly console: string;
  readonly state: string;
}

const since = (start: number): number => performance.now() - start;

const counting = (console: string): Promise<true> =>
  new FileLines(console).until((line) => (line.startsWith("tick 1 ") ? true : undefined), 60);

const object = (size: string, ram: string): string[] => [
  ...["-object", `memory-backend-file,id=ram0,size=${size},mem-path=${ram},share=on`, "-m", size],
];

/** The options that say what guest it is: the same for both machines. */
async function guest(): Promise<string[]> {
  const { kernel, initramfs } = await guestAssets(() => undefined);
  return ["-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 cryptomgr.notests"];
}

async function withCpr(size: string, { ram, console, state }: Place): Promise<Blackout> {
  const options = [...object(size, ram), ...(await guest()), "-serial", `file:${console}`];
  const prepare = async (process: CprProcess): Promise<void> => {
    await process.command("migrate_set_parameter mode cpr-reboot");
    await process.command("migrate_set_capability x-ignore-shared on");
  };
  const first = new CprProcess([...options, "-accel", "interp"]);
  await first.ready();
  await counting(console);
  await prepare(first);
  const begin = performance.now();
  await first.command(`migrate file:${state}`);
  const save = since(begin);
  await first.quit();
  const quit = since(begin) - save;
  const second = new CprProcess([...options, "-accel", "interp", "-incoming", "defer"]);
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

async function withQemu(size: string, { ram, console, state }: Place): Promise<Blackout> {
  const options = [
    ...["-accel", "tcg", "-machine", "microvm,acpi=off,isa-serial=on,memory-backend=ram0", "-nodefaults"],
    ...["-display", "none", ...(await guest()), "-serial", `file:${console}`],
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
  await counting(console);
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

const parts = ["save", "quit", "start", "load", "total"] as const;

/** The time from `migrate` to `running` in the new process, RAM in place on tmpfs, beside QEMU's. */
export async function checkpoint(rounds: number): Promise<Report> {
  await ensureQemu();
  const rows: string[][] = [];
  for (const size of ["256M", "4G"]) {
    const results: Record<string, Blackout[]> = { cpr: [], QEMU: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, run] of [["cpr", withCpr] as const, ["QEMU", withQemu] as const]) {
        const folder = mkdtempSync("/dev/shm/cpr-bench-");
        try {
          const place = { ram: join(folder, "ram"), console: join(folder, "console"), state: join(folder, "state") };
          results[name]?.push(await run(size, place));
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      }
    }
    const middle = (name: string, part: keyof Blackout): number =>
      median((results[name] ?? []).map((each) => each[part]));
    for (const name of ["cpr", "QEMU"]) {
      rows.push([
        size,
        name,
        ...parts.map(
          (part) => `${middle(name, part).toFixed(1)} (${(middle("cpr", part) / middle(name, part)).toFixed(2)})`,
        ),
        String(middle(name, "bytes")),
      ]);
    }
  }
  return {
    title:
      "Checkpoint and restart, RAM in place: milliseconds (medians), and in brackets how many times as long cpr takes",
    text: `${table(["RAM", "machine", ...parts, "state file, bytes"], rows)}\n\n${startParts(rounds)}`,
  };
}

/** What the start of a `cpr` process is made of, each part in processes of its own. */
function startParts(rounds: number): string {
  const process = (words: readonly string[]): number => {
    const begin = performance.now();
    execFileSync(execPath, words);
    return since(begin);
  };
  const node =
    (script: string): (() => number) =>
    () =>
      process(["-e", script]);
  const core = join(root, "packages/backend-interp/dist/core-i32.wasm");
  const compile = `
    const bytes = process.getBuiltinModule("node:fs").readFileSync(${JSON.stringify(core)});
    const begin = performance.now();
    new WebAssembly.Module(bytes);
    console.log(performance.now() - begin);`;
  const parts: readonly (readonly [string, () => number])[] = [
    ["node -e 0: Node itself", node("0")],
    ["the same with an empty worker thread", node('new (require("node:worker_threads").Worker)("0", { eval: true })')],
    ["cpr --version: Node and the command's modules", () => process([cprCommand, "--version"])],
    ["cpr plugins: and the plugins' manifests", () => process([cprCommand, "plugins"])],
    [
      "the interpreter's WebAssembly.Module",
      () => Number(execFileSync(execPath, ["-e", compile], { encoding: "utf8" })),
    ],
  ];
  return table(
    ["part of a start", "median"],
    parts.map(([name, measure]) => [name, `${median(Array.from({ length: rounds }, measure)).toFixed(1)} ms`]),
  );
}
