import { expect, test } from "vitest";
import { checkManifests, manifestProblems } from "../check-manifests.ts";
import { type Manifest, type WorkspacePackage, workspacePackages } from "../workspace.ts";

const plugin = (): WorkspacePackage => {
  const found = workspacePackages().find(({ folder }) => folder === "transport-file");
  if (found === undefined) throw new Error("packages/transport-file is gone: take another plugin");
  return found;
};

/** The problems of a sound plugin whose manifest is changed in one place. */
const problemsWith = (change: Partial<Manifest>): string =>
  manifestProblems({ ...plugin(), manifest: { ...plugin().manifest, ...change } }).join("\n");

test("the manifests of this workspace are uniform", () => {
  expect(checkManifests()).toEqual([]);
});

test.each<[string, Partial<Manifest>, string]>([
  ["another licence", { license: "MIT" }, '"license"'],
  ["an older Node", { engines: { node: ">=18" } }, '"engines"'],
  ["a name that is not its folder's", { name: "@cpr/file" }, '"name"'],
  ["a version range of its own", { dependencies: { execa: "^10.0.0" } }, '"execa"'],
  ["a kernel of its own", { dependencies: { "@cpr/core": "workspace:^" } }, "@cpr/core of its own"],
  ["no keyword", { keywords: [] }, "cpr-plugin"],
  ["nothing to provide", { cpr: { api: 1, plugin: "./plugin", provides: {} } }, "provides"],
  ["another API", { cpr: { api: 2, plugin: "./plugin", provides: { transport: ["file"] } } }, "api 1"],
  ["no manifest among its exports", { exports: { ".": plugin().manifest.exports?.["."] } }, "./package.json"],
  [
    "exports in the wrong order",
    { exports: { ...plugin().manifest.exports, ".": { default: "./dist/index.js", types: "./dist/index.d.ts" } } },
    'export "."',
  ],
  ["an export without a source", { exports: { ...plugin().manifest.exports, "./nothing": {} } }, "src/nothing.ts"],
])("a manifest with %s is refused", (_, change, problem) => {
  expect(manifestProblems(plugin())).toEqual([]);
  expect(problemsWith(change)).toContain(problem);
});
