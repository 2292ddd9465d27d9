import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { execPath } from "node:process";
import { cprCommand } from "../tools/cpr-process.ts";
import { guestAssets } from "../tools/guest-assets.ts";
import { root } from "../tools/workspace.ts";
import { type Blackout, cprBlackout, qemuBlackout, type Subject } from "./blackout.ts";
import { ensureQemu } from "./peers/machines.ts";
import { median, type Report, since, table } from "./report.ts";

const parts = ["save", "quit", "start", "load", "total"] as const;

/** The time from `migrate` to `running` in the new process, RAM in place on tmpfs, beside QEMU's. */
export async function checkpoint(rounds: number): Promise<Report> {
  await ensureQemu();
  const { kernel, initramfs } = await guestAssets();
  const rows: string[][] = [];
  for (const size of ["256M", "4G"]) {
    const results: Record<string, Blackout[]> = { cpr: [], QEMU: [] };
    const subject: Subject = {
      size,
      guest: ["-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 cryptomgr.notests"],
      isReady: (line) => line.startsWith("tick 1 "),
      execution: { cpr: ["-accel", "interp"], qemu: ["-accel", "tcg"] },
    };
    for (let round = 0; round < rounds; round += 1) {
      results.cpr?.push(await cprBlackout(subject));
      results.QEMU?.push(await qemuBlackout(subject));
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
