import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { buildGuestProgram } from "@cpr/guest-programs";
import { CprProcess, FileLines } from "./cpr-process.ts";
import { root } from "./workspace.ts";

/**
 * A kind of checkpoint of which every released format has one in the repository. They are loaded by a test for ever, so
 * they are added to and never changed.
 */
export interface GoldenKind {
  /** What follows `format-N-` in the name of its files. */
  readonly name: string;
  /** Besides the mode cpr-reboot; the same when it is loaded. */
  readonly capabilities: readonly string[];
  /** RAM stays in place, so its file belongs to the checkpoint. */
  readonly inPlace?: true;
}

/** The kinds, and what each needs. */
export const goldenKinds: readonly GoldenKind[] = [
  { name: "copied", capabilities: [] },
  { name: "in-place", capabilities: ["x-ignore-shared", "validate-uuid"], inPlace: true },
  { name: "mapped", capabilities: ["mapped-ram", "multifd"] },
  { name: "mapped-in-place", capabilities: ["mapped-ram", "x-ignore-shared"], inPlace: true },
];

export const goldenFolder = join(root, "packages/integration-tests/golden");

/** Options of `cpr run` with which a golden checkpoint was made, and is loaded. */
export function goldenOptions({ inPlace }: GoldenKind, folder: string): string[] {
  const object = `memory-backend-file,id=ram0,size=32M,mem-path=${join(folder, "ram")},share=on`;
  return [
    ...["-accel", "interp", "-m", "32M", "-kernel", buildGuestProgram("pages")],
    ...["-uuid", "550e8400-e29b-41d4-a716-446655440000", "-serial", `file:${join(folder, "console")}`],
    ...(inPlace === true ? ["-object", object] : []),
  ];
}

/** Chooses mode and capabilities. */
export async function prepareGolden(process: CprProcess, { capabilities }: GoldenKind): Promise<void> {
  const lines = capabilities.map((name) => `migrate_set_capability ${name} on`);
  for (const line of ["migrate_set_parameter mode cpr-reboot", ...lines]) {
    const answer = await process.command(line);
    if (answer !== "") throw new Error(`'${line}': ${answer}`);
  }
}

/** The kind of the golden checkpoint with some name. */
export function goldenKindOf(name: string): GoldenKind | undefined {
  return goldenKinds.find((kind) => /^format-\d+-(.*)$/.exec(name)?.[1] === kind.name);
}

/** Makes a golden checkpoint, unless there is one: what a version has written stays as it is. */
async function make(kind: GoldenKind, format: string): Promise<void> {
  const target = join(goldenFolder, `format-${format}-${kind.name}`);
  if (existsSync(`${target}.state.gz`)) return;
  const folder = mkdtempSync("/dev/shm/cpr-golden-");
  try {
    const process = new CprProcess(goldenOptions(kind, folder));
    await process.ready();
    await new FileLines(join(folder, "console")).until((line) => (line === "B" ? line : undefined), 60);
    await prepareGolden(process, kind);
    const state = join(folder, "state");
    const answer = await process.command(`migrate file:${state}`);
    if (answer !== "") throw new Error(answer);
    await process.quit();
    mkdirSync(goldenFolder, { recursive: true });
    writeFileSync(`${target}.state.gz`, gzipSync(readFileSync(state), { level: 9 }));
    if (kind.inPlace === true) {
      writeFileSync(`${target}.ram.gz`, gzipSync(readFileSync(join(folder, "ram")), { level: 9 }));
      // Without what the RAM's file was like: unpacked, it will have another time.
      const mark = readFileSync(join(folder, "ram.cpr"), "latin1");
      writeFileSync(`${target}.ram.cpr`, mark.replace(/^cpr file .*\n/m, ""));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// `node tools/golden-checkpoints.ts FORMAT` makes the golden checkpoints of the format that this checkout writes, those
// that are not there yet.
if (import.meta.main) {
  const [, , format] = process.argv;
  if (format === undefined || !/^\d+$/.test(format)) throw new Error("usage: node tools/golden-checkpoints.ts FORMAT");
  for (const kind of goldenKinds) await make(kind, format);
}
