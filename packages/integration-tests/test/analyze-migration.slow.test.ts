import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { qemuSourceFile } from "../../../tools/qemu-source.ts";
import { mappedHeader, mappedRam, mappedRamSize } from "./mapped-file.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

const run = promisify(execFile);
const uuid = "550e8400-e29b-41d4-a716-446655440000";
const size = mappedRamSize;

/** QEMU's script: the one that CPR_ANALYZE_MIGRATION names, or that of the newest QEMU that Debian has. */
const script = process.env["CPR_ANALYZE_MIGRATION"] ?? (await qemuSourceFile("scripts/analyze-migration.py"));
/** QEMU 10's script, and those before, cannot read mapped-ram. */
const knowsMappedRam = readFileSync(script, "utf8").includes("MappedRamHeader");

interface Case {
  readonly capabilities: readonly string[];
  readonly needs?: boolean;
}

const cases: readonly Case[] = [
  { capabilities: [] },
  { capabilities: ["validate-uuid"] },
  { capabilities: ["x-ignore-shared"] },
  { capabilities: ["x-ignore-shared", "validate-uuid"] },
  { capabilities: ["mapped-ram"], needs: true },
  { capabilities: ["mapped-ram", "multifd", "validate-uuid"], needs: true },
  { capabilities: ["mapped-ram", "x-ignore-shared"], needs: true },
  { capabilities: ["mapped-ram", "multifd", "x-ignore-shared", "validate-uuid"], needs: true },
];

for (const { capabilities, needs = false } of cases) {
  it(`QEMU's script reads what a process saved with ${capabilities.join(", ") || "no capabilities"}, and extracts its RAM`, async () => {
    const folder = scratchFolder();
    const [ram, state] = [join(folder, "ram"), join(folder, "vm.state")];
    const object = `memory-backend-file,id=ram0,size=${size},mem-path=${ram},share=on`;
    const source = await QmpProcess.start({ folder, name: "source", options: ["-object", object, "-uuid", uuid] });
    await source.setParameters({ mode: "cpr-reboot" });
    await source.setCapabilities(...capabilities);
    await source.untilPrinted("B");
    await source.execute("migrate", { uri: `file:${state}` });
    await source.untilMigration("completed");
    await source.quit();

    const inPlace = capabilities.includes("x-ignore-shared");
    // RAM in place takes no room, whatever the layout is.
    expect(statSync(state).size < 64 * 1024).toBe(inPlace);
    if (needs && !knowsMappedRam) {
      // The rules of QEMU's documentation stand in for a script that is too old.
      const file = readFileSync(state);
      const { pagesOffset } = mappedHeader(file, inPlace);
      expect(inPlace ? pagesOffset === 0 : mappedRam(file).equals(readFileSync(ram))).toBe(true);
      return;
    }
    const cwd = join(folder, "extracted");
    mkdirSync(cwd);
    const analyze = async (...words: string[]): Promise<string> =>
      (await run("python3", [script, "-f", state, ...words], { cwd, maxBuffer: size })).stdout;
    const states = JSON.parse(await analyze("-d", "state")) as Record<string, unknown>;
    expect(Object.keys(states)).toEqual(
      expect.arrayContaining(["ram (0)", "globalstate (1)", "machine (2)", "cpu (3)"]),
    );
    expect(states["ram (0)"]).toEqual({ "section sizes": { ram0: `0x${size.toString(16).padStart(16, "0")}` } });
    const { configuration } = JSON.parse(await analyze("-d", "desc")) as {
      configuration: { subsections?: unknown[] };
    };
    const recorded = capabilities.some((name) => name === "mapped-ram" || name === "x-ignore-shared");
    expect(configuration.subsections?.length ?? 0).toBe(
      Number(recorded) + Number(capabilities.includes("validate-uuid")),
    );

    await analyze("-x");
    const extracted = readFileSync(join(cwd, "ram0"));
    expect(extracted.equals(inPlace ? Buffer.alloc(size) : readFileSync(ram))).toBe(true);
  });
}
