import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Manifest, readJson, root, type WorkspacePackage, workspacePackages } from "./workspace.ts";

/** Folders outside `packages/` that have a TypeScript project of their own. */
const otherProjects = ["tools", "bench"];

interface TypeScriptProject {
  readonly file: string;
  readonly content: unknown;
}

const own = (dependencies: Readonly<Record<string, string>> | undefined): string[] =>
  Object.keys(dependencies ?? {})
    .filter((name) => name.startsWith("@cpr/"))
    .map((name) => name.slice("@cpr/".length));

const references = (folders: readonly string[]): { path: string }[] =>
  [...new Set(folders)].sort().map((folder) => ({ path: `../${folder}/tsconfig.build.json` }));

/**
 * The two TypeScript projects of a package: one makes the declarations of its sources in `dist`, the other checks its tests. They follow from
 * the dependencies in its manifest.
 *
 * NOTE: the second one must be `tsconfig.json` and include `src`: vitest takes `experimentalDecorators` from the nearest
 * `tsconfig.json`, and only for files that it includes.
 */
function projects({ path, manifest }: WorkspacePackage): TypeScriptProject[] {
  const runtime = [manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies].flatMap(own);
  return [
    {
      file: join(path, "tsconfig.build.json"),
      content: {
        extends: "../../tsconfig.base.json",
        compilerOptions: {
          rootDir: "src",
          outDir: "dist",
          // JavaScript comes from tools/bundle.ts.
          emitDeclarationOnly: true,
          tsBuildInfoFile: "dist/.tsbuildinfo",
        },
        include: ["src"],
        exclude: ["src/**/*.test.ts"],
        references: references(runtime),
      },
    },
    {
      file: join(path, "tsconfig.json"),
      content: {
        extends: "../../tsconfig.base.json",
        compilerOptions: {
          noEmit: true,
          // Tests may import from `tools/` and `fixtures/`, which belong to no project that could be referenced.
          composite: false,
          incremental: true,
          rewriteRelativeImportExtensions: false,
          tsBuildInfoFile: "dist/.tsbuildinfo-test",
        },
        include: ["src", "test"],
        references: [{ path: "./tsconfig.build.json" }, ...references([...runtime, ...own(manifest.devDependencies)])],
      },
    },
  ];
}

const rootProject = (packages: readonly WorkspacePackage[]): TypeScriptProject => ({
  file: join(root, "tsconfig.json"),
  content: {
    files: [],
    references: [
      ...packages.map(({ folder }) => `packages/${folder}`),
      ...otherProjects.filter((folder) => existsSync(join(root, folder, "tsconfig.json"))),
    ].map((path) => ({ path })),
  },
});

/** What is wrong with one package's manifest, a sentence each. */
export function manifestProblems({ folder, path, manifest }: WorkspacePackage): string[] {
  const problems: string[] = [];
  const expect = (right: boolean, problem: string): void => {
    if (!right) problems.push(`packages/${folder}/package.json: ${problem}`);
  };
  const isPlugin = manifest.cpr !== undefined;
  const common: Manifest = { name: `@cpr/${folder}`, version: "0.1.0", license: "Apache-2.0", type: "module" };
  for (const [key, value] of Object.entries(common)) expect(manifest[key] === value, `"${key}" must be "${value}"`);
  expect(typeof manifest.description === "string", 'a "description" is missing');
  expect(isDeepStrictEqual(manifest.engines, { node: ">=24" }), '"engines" must be { "node": ">=24" }');

  for (const field of ["dependencies", "optionalDependencies", "devDependencies"] as const) {
    for (const [name, range] of Object.entries(manifest[field] ?? {})) {
      expect(/^(catalog:|workspace:)/.test(range), `${field}: "${name}" must come from the catalog or the workspace`);
    }
  }
  expect(
    (manifest.keywords ?? []).includes("cpr-plugin") === isPlugin,
    'the keyword "cpr-plugin" and the key "cpr" belong together',
  );
  if (isPlugin) {
    expect(
      manifest.cpr?.api === 1 && manifest.cpr.plugin === "./plugin",
      '"cpr" must name api 1 and the plugin "./plugin"',
    );
    expect(Object.keys(manifest.cpr?.provides ?? {}).length > 0, '"cpr.provides" is empty');
    expect(manifest.exports?.["./plugin"] !== undefined, 'a plugin must export "./plugin"');
    expect(own(manifest.peerDependencies).includes("core"), "a plugin has @cpr/core as a peer dependency");
    expect(!own(manifest.dependencies).includes("core"), "a plugin must not bring a @cpr/core of its own");
    expect(existsSync(join(path, "test/compliance.test.ts")), "a plugin must have test/compliance.test.ts");
  }
  if (manifest.private === true) return problems;

  expect(manifest.files?.includes("dist") === true, '"files" must include "dist"');
  expect(existsSync(join(path, "README.md")), "a published package must have a README.md");
  const { "./package.json": self, ...entries } = manifest.exports ?? {};
  expect(self === "./package.json", 'the export "./package.json" is missing: plugin discovery reads it');
  expect("." in entries, 'the export "." is missing');
  for (const [subpath, entry] of Object.entries(entries)) {
    const base = subpath === "." ? "index" : subpath.slice("./".length);
    const shape = { types: `./dist/${base}.d.ts`, source: `./src/${base}.ts`, default: `./dist/${base}.js` };
    expect(
      isDeepStrictEqual(entry, shape) && isDeepStrictEqual(Object.keys(entry as object), Object.keys(shape)),
      `the export "${subpath}" must be ${JSON.stringify(shape)}, in this order`,
    );
    expect(existsSync(join(path, `src/${base}.ts`)), `the export "${subpath}" has no src/${base}.ts`);
  }
  return problems;
}

/** What is wrong with the manifests and TypeScript projects of the workspace. With `write`, projects are made right instead. */
export function checkManifests({ write = false }: { readonly write?: boolean } = {}): string[] {
  const packages = workspacePackages();
  const problems = packages.flatMap(manifestProblems);
  for (const { file, content } of [...packages.flatMap(projects), rootProject(packages)]) {
    if (existsSync(file) && isDeepStrictEqual(readJson(file), content)) continue;
    if (write) writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`);
    else
      problems.push(
        `${file.slice(root.length + 1)} does not follow from the manifest: node tools/check-manifests.ts --write`,
      );
  }
  return problems;
}

if (import.meta.main) {
  const problems = checkManifests({ write: process.argv.includes("--write") });
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
