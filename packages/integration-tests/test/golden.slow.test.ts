import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import {
  goldenFolder,
  goldenKindOf,
  goldenKinds,
  goldenOptions,
  prepareGolden,
} from "../../../tools/golden-checkpoints.ts";
import { scratchFolder } from "./scratch.ts";

const suffix = ".state.gz";
const names = readdirSync(goldenFolder)
  .filter((name) => name.endsWith(suffix))
  .map((name) => name.slice(0, -suffix.length));

it("there is one of each format and kind; format 1 had no mapped-ram", () => {
  const expected = [1, 2, 3].flatMap((format) =>
    goldenKinds
      .filter(({ capabilities }) => format > 1 || !capabilities.includes("mapped-ram"))
      .map(({ name }) => `format-${format}-${name}`),
  );
  expect([...names].sort()).toEqual(expected.sort());
});

it.each(names)(
  "the checkpoint %s, which an earlier version may have written, is loaded, and the guest goes on",
  async (name) => {
    const kind = goldenKindOf(name);
    if (kind === undefined) throw new Error(`nobody knows how ${name} is loaded`);
    const folder = scratchFolder();
    const golden = join(goldenFolder, name);
    const unpack = (extension: string): Buffer => gunzipSync(readFileSync(`${golden}${extension}`));
    writeFileSync(join(folder, "state"), unpack(suffix));
    if (kind.inPlace === true) {
      writeFileSync(join(folder, "ram"), unpack(".ram.gz"));
      copyFileSync(`${golden}.ram.cpr`, join(folder, "ram.cpr"));
    }
    const process = new CprProcess([...goldenOptions(kind, folder), "-incoming", "defer"]);
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    await prepareGolden(process, kind);
    expect(await process.command(`migrate_incoming file:${join(folder, "state")}`)).toBe("");
    expect(await process.command("info status")).toBe("VM status: running");
    await new FileLines(join(folder, "console")).until((line) => (line === "B" ? line : undefined), 60);
    // What is in the repository is never written to.
    expect(existsSync(join(folder, "ram.cpr"))).toBe(false);
  },
);
