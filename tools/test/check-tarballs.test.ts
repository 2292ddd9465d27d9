import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { tarballProblems } from "../check-tarballs.ts";

/** The problems of a package that consists of the given files. */
async function problemsOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "cpr-tarball-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, "package", name)), { recursive: true });
      writeFileSync(join(folder, "package", name), text);
    }
    execFileSync("tar", ["-czf", "package.tgz", "package"], { cwd: folder });
    return await tarballProblems(new Uint8Array(readFileSync(join(folder, "package.tgz"))));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const manifest = {
  name: "example",
  version: "1.0.0",
  license: "Apache-2.0",
  type: "module",
  exports: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } },
};
const sound = {
  "package.json": JSON.stringify(manifest),
  "dist/index.js": "export const answer = 42;\n",
  "dist/index.d.ts": "export declare const answer: number;\n",
};

test("a sound package has no problems", async () => {
  expect(await problemsOf(sound)).toEqual([]);
});

test("an entry point without its file is found", async () => {
  const { "dist/index.js": _, ...rest } = sound;
  expect((await problemsOf(rest)).join("\n")).toContain("does not exist");
});

test("types that lead nowhere are found", async () => {
  const lying = { ...sound, "dist/index.d.ts": 'export { answer } from "./answer.js";\n' };
  expect((await problemsOf(lying)).join("\n")).toContain("InternalResolutionError");
});
