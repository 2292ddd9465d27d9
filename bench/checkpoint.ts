import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { execPath } from "node:process";
import { buildGuestProgram } from "@cpr/guest-programs";
import { cprCommand } from "../tools/cpr-process.ts";
import { guestAssets } from "../tools/guest-assets.ts";
import { root } from "../tools/workspace.ts";
import { type Blackout, cprBlackout, qemuBlackout, type Subject } from "./blackout.ts";
import { ensureQemu } from "./peers/machines.ts";
import { median, type Report, since, table } from "./report.ts";

const parts = ["save", "quit", "start", "load", "total"] as const;

/** The program that a guest has which never begins to run. */
const neverRun = (): readonly string[] => ["-kernel", buildGuestProgram("counter")];

/** Checkpoints and restarts beside QEMU's: with RAM in place on tmpfs, and with copies of it in a file there. */
export async function checkpoint(rounds: number, only: readonly string[]): Promise<Report> {
  await ensureQemu();
  const { kernel, initramfs } = await guestAssets();
  const linux: Omit<Subject, "size" | "ram"> = {
    guest: ["-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 cryptomgr.notests"],
    isReady: (line) => line.startsWith("tick 1 "),
    execution: { cpr: ["-accel", "interp"], qemu: ["-accel", "tcg"] },
  };
  const full: Subject = { ...linux, size: "4G", ram: "copied", guest: neverRun(), isReady: undefined };
  const parallel = { capabilities: ["mapped-ram", "multifd"] };
  const kept = ["512M", "4G", "16G"].map((size): [string, Subject] => [
    `${size}, RAM in place`,
    { ...linux, size, ram: "kept" },
  ]);
  const waiting: Subject = { ...linux, size: "4G", ram: "kept", startsBefore: true };
  const idle: Subject = { ...linux, size: "8G", ram: "private" };
  const subjects: Record<string, readonly (readonly [string, Subject])[]> = {
    "in-place": kept,
    waiting: [["4G, RAM in place, the new process waits before", waiting]],
    idle: [
      ["8G idle, copied", idle],
      ["8G idle, copied, mapped-ram and multifd", { ...idle, ...parallel }],
    ],
    full: [
      ["4G used, copied", full],
      ["4G used, copied, mapped-ram and multifd", { ...full, ...parallel }],
    ],
  };
  const wanted = Object.entries(subjects).filter(([name]) => only.length === 0 || only.includes(name));
  const rows: string[][] = [];
  for (const [name, subject] of wanted.flatMap(([, each]) => each)) {
    rows.push(...(await compare(name, subject, rounds)));
  }
  const head = ["guest", "machine", ...parts, "MiB on disk"];
  return {
    title: "Checkpoint and restart: milliseconds (medians), and in brackets how many times as long cpr takes",
    text: [table(head, rows), ...(only.length === 0 || only.includes("start") ? [startParts(rounds)] : [])].join(
      "\n\n",
    ),
  };
}

async function compare(name: string, subject: Subject, rounds: number): Promise<string[][]> {
  const cpr: Blackout[] = [];
  const qemu: Blackout[] = [];
  for (let round = 0; round < rounds; round += 1) {
    cpr.push(await cprBlackout(subject));
    qemu.push(await qemuBlackout(subject));
  }
  const middle = (results: readonly Blackout[], part: keyof Blackout): number =>
    median(results.map((each) => each[part]));
  return [["cpr", cpr] as const, ["QEMU", qemu] as const].map(([machine, results]) => [
    name,
    machine,
    ...parts.map(
      (part) => `${middle(results, part).toFixed(1)} (${(middle(cpr, part) / middle(results, part)).toFixed(2)})`,
    ),
    (middle(results, "bytes") / 2 ** 20).toFixed(2),
  ]);
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
