import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkLayering } from "../layering.ts";
import { root } from "../workspace.ts";

/** A workspace of four packages that breaks no rule; each case plants one bad import into it. */
const sound: Readonly<Record<string, string>> = {
  "packages/core/src/index.ts": 'import { token } from "./di.ts";\nexport const core: unknown = token;\n',
  "packages/core/src/di.ts": 'export { token } from "tsyringe";\n',
  "packages/testkit/src/index.ts": 'export { core } from "@cpr/core";\n',
  "packages/transport-one/src/index.ts": 'export { core as one } from "@cpr/core";\n',
  "packages/transport-one/test/one.test.ts": 'import "@cpr/testkit";\nimport "../src/index.ts";\n',
  "packages/transport-two/src/index.ts": "export const two = 2;\n",
  "node_modules/tsyringe/index.js": "export const token = 1;\n",
};

const planted: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "core-knows-no-plugin": { "packages/core/src/bad.ts": 'import "@cpr/transport-one";\n' },
  "plugins-are-strangers": { "packages/transport-two/src/bad.ts": 'import "@cpr/transport-one";\n' },
  "plugins-are-strangers (types)": {
    "packages/transport-two/src/bad.ts":
      'import type { one } from "@cpr/transport-one";\nexport type T = typeof one;\n',
  },
  "testkit-imports-core-only": { "packages/testkit/src/bad.ts": 'import "@cpr/transport-one";\n' },
  "tsyringe-only-in-core-di": { "packages/transport-one/src/bad.ts": 'import "tsyringe";\n' },
  "no-deep-imports": { "packages/testkit/src/bad.ts": 'import "../../core/src/di.ts";\n' },
  "sources-import-no-tests": { "packages/transport-one/src/bad.ts": 'import "../test/one.test.ts";\n' },
  "no-cycles": {
    "packages/core/src/left.ts": 'import { right } from "./right.ts";\nexport const left = (): unknown => right;\n',
    "packages/core/src/right.ts": 'import { left } from "./left.ts";\nexport const right = (): unknown => left;\n',
  },
  "no-deep-imports (within a using declaration)": {
    "packages/testkit/src/bad.ts":
      'export async function f(): Promise<void> {\n  await using x = await import("../../core/src/di.ts");\n}\n',
  },
  resolvable: { "packages/core/src/bad.ts": 'import "./nowhere.ts";\n' },
};

let workspace: string;

const write = (files: Readonly<Record<string, string>>): void => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(workspace, name)), { recursive: true });
    writeFileSync(join(workspace, name), text);
  }
};

beforeAll(() => {
  workspace = mkdtempSync(join(tmpdir(), "cpr-layering-"));
  write(sound);
  write({ "node_modules/tsyringe/package.json": '{ "name": "tsyringe", "exports": "./index.js" }' });
  mkdirSync(join(workspace, "node_modules/@cpr"), { recursive: true });
  for (const folder of ["core", "testkit", "transport-one", "transport-two"]) {
    const manifest = {
      name: `@cpr/${folder}`,
      exports: { ".": { source: "./src/index.ts" } },
      ...(folder.startsWith("transport-") ? { cpr: { api: 1, plugin: "./plugin", provides: {} } } : {}),
    };
    write({ [`packages/${folder}/package.json`]: JSON.stringify(manifest) });
    symlinkSync(join("../../packages", folder), join(workspace, "node_modules/@cpr", folder));
  }
});

afterAll(() => rmSync(workspace, { recursive: true, force: true }));

describe("the layering rules", () => {
  test("let a sound workspace pass, and read every module of it", async () => {
    expect(await checkLayering(workspace)).toEqual({ modules: 6, violations: [] });
  });

  test.each(Object.entries(planted))("catch a planted import: %s", async (name, files) => {
    const [rule] = name.split(" ");
    write(files);
    try {
      const { violations } = await checkLayering(workspace);
      expect(violations.filter((line) => line.startsWith(`${rule}: `))).not.toEqual([]);
    } finally {
      for (const file of Object.keys(files)) rmSync(join(workspace, file));
    }
  });

  test("read the modules of this checkout", async () => {
    expect((await checkLayering(root)).modules).toBeGreaterThan(50);
  });
});
