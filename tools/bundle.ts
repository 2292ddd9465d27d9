/**
 * `node tools/bundle.ts [--all]`: makes the JavaScript of the packages from their sources, beside the declarations that
 * `tsc -b` makes; without `--all`, only where sources have changed.
 *
 * A package's modules become one file for each entry, and one for what entries share: a process that starts reads twenty
 * files instead of five hundred. Packages stay apart: what one imports from another is found at run time, so that
 * there is one `@cpr/core` for all plugins, whoever made them.
 */
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OutputChunk } from "rolldown";
import { readJson, type WorkspacePackage, workspacePackages } from "./workspace.ts";

/** Entries beside the exports, by package and the name of their file: what processes, threads and scripts begin with. */
const programs: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "backend-interp": { "core-module": "./src/core-module.ts" },
  cli: { main: "./src/main.ts" },
  core: { worker: "./src/machine-thread/worker.ts", "ram-copy": "./src/ram-copy/worker.ts" },
  "native-mman": { "page-functions": "./src/page-functions.ts", reclaim: "./src/reclaim.ts" },
};

/** Scripts that make more of what was bundled. */
const generators: Readonly<Record<string, string>> = { "backend-interp": "scripts/write-core-modules.mjs" };

/** Packages by others that become part of ours: those that every start needs, of many files each, and decorators' helpers. */
const merged = /^(@oxc-project\/runtime|commander|reflect-metadata|tslib|tsyringe)(\/|$)/;

/** The entries of a package, by the name of the file that is made of each. */
function entriesOf({ folder, manifest }: WorkspacePackage): Record<string, string> {
  const exported = Object.values(manifest.exports ?? {}).flatMap((entry) => {
    const { source, default: built } = entry as { readonly source?: string; readonly default?: string };
    return source === undefined || built === undefined ? [] : [[built.slice("./dist/".length, -".js".length), source]];
  });
  return { ...Object.fromEntries(exported), ...programs[folder] };
}

/** Whether something that goes into a package's JavaScript is newer than it. */
function isStale({ path }: WorkspacePackage, entries: readonly string[]): boolean {
  const made = entries.map(
    (name) => statSync(join(path, "dist", `${name}.js`), { throwIfNoEntry: false })?.mtimeMs ?? 0,
  );
  const oldest = Math.min(...made);
  const inputs = [
    import.meta.filename,
    join(path, "package.json"),
    ...globSync("{src,scripts}/**/*.{ts,mjs}", { cwd: path }).map((file) => join(path, file)),
  ];
  return inputs.some((file) => statSync(file).mtimeMs > oldest);
}

async function bundlePackage({ path }: WorkspacePackage, entries: Record<string, string>): Promise<void> {
  const begun = new Date();
  // Not needed when nothing has changed, which is most often.
  const { rolldown } = await import("rolldown");
  const bundle = await rolldown({
    cwd: path,
    input: entries,
    platform: "node",
    preserveEntrySignatures: "allow-extension",
    external: (id) => !/^[./]/.test(id) && !merged.test(id),
    resolve: { mainFields: ["module", "main"] },
    // For `experimentalDecorators`.
    tsconfig: join(path, "tsconfig.json"),
    onLog: (_level, log) => {
      throw new Error(log.message);
    },
  });
  const { output } = await bundle.generate({
    format: "esm",
    sourcemap: true,
    entryFileNames: "[name].js",
    // NOTE: all files are side by side, because modules find what is beside them through `import.meta.url`.
    chunkFileNames: "[name].js",
    comments: { legal: true, annotation: true, jsdoc: false },
  });
  await bundle.close();

  const folder = join(path, "dist");
  mkdirSync(folder, { recursive: true });
  const files = new Map<string, string | Uint8Array>(
    output.map((file) => [file.fileName, file.type === "chunk" ? withoutFacades(file.code) : file.source]),
  );
  const licenses = licensesIn(output.filter((file) => file.type === "chunk"));
  if (licenses !== "") files.set("third-party-licenses.txt", licenses);
  for (const [name, contents] of files) {
    // Put in place at once: a process that starts meanwhile finds the old file or the new one.
    const temporary = join(folder, `${name}.${process.pid}.tmp`);
    writeFileSync(temporary, contents);
    // What is edited from now on is newer.
    utimesSync(temporary, begun, begun);
    renameSync(temporary, join(folder, name));
  }
  for (const file of globSync("**/*.js{,.map}", { cwd: folder })) {
    if (!files.has(file)) rmSync(join(folder, file), { force: true });
  }
}

/** A module that commander imports for commands that are programs of their own, of which there are none. */
const late = /^node:child_process$/;

/** An expression for a module that is loaded when something of it is used. */
const lazy = (module: string): string =>
  `new Proxy({}, { get: (_, name) => process.getBuiltinModule("${module}")[name] })`;

/**
 * Replaces imports of Node's modules. An `import` of one makes a facade that reads all its exports, and so loads all
 * that it would load lazily: for `node:fs`, a quarter of the time that an empty Node takes to start.
 */
function withoutFacades(code: string): string {
  return code.replace(
    /^import (?:(?:\* as )?([\w$]+)(?:, )?)?(?:\{([^}]*)\})? ?(?:from )?"(node:[\w/]+)";$/gm,
    (_statement, whole: string | undefined, names: string | undefined, module: string) => {
      const targets = [whole, names === undefined ? undefined : `{${names.replaceAll(" as ", ": ")}}`];
      return targets
        .filter((target) => target !== undefined)
        .map(
          (target) =>
            `const ${target} = ${late.test(module) ? lazy(module) : `process.getBuiltinModule("${module}")`};`,
        )
        .join(" ");
    },
  );
}

/** The licenses of the packages by others that are in some chunks: each wants to go with the code. */
function licensesIn(chunks: readonly OutputChunk[]): string {
  const folders = chunks.flatMap(({ moduleIds }) =>
    moduleIds.flatMap((id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? []),
  );
  const texts = [...new Set(folders)].sort().map((folder) => {
    const { name, version } = readJson(join(folder, "package.json")) as {
      readonly name: string;
      readonly version: string;
    };
    const [file] = globSync("LICEN{S,C}E*", { cwd: folder });
    if (file === undefined) throw new Error(`${name} has no license that could go with its code`);
    return `${name} ${version}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return texts.join("\n\n");
}

function generate(script: string, { path }: WorkspacePackage): void {
  const { status, stderr } = spawnSync(process.execPath, [script], { cwd: path, encoding: "utf8" });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
}

/** Bundles the packages that have changed, or all of them. @returns their names. */
export async function bundlePackages({ all = false }: { readonly all?: boolean } = {}): Promise<readonly string[]> {
  const done: string[] = [];
  for (const each of workspacePackages()) {
    const entries = entriesOf(each);
    const names = Object.keys(entries);
    if (names.length === 0 || (!all && !isStale(each, names))) continue;
    await bundlePackage(each, entries);
    const script = generators[each.folder];
    if (script !== undefined) generate(script, each);
    done.push(each.folder);
  }
  return done;
}

/** For vitest: what tests start as a process or a thread runs the bundles. */
export default async function setup(): Promise<void> {
  await bundlePackages();
}

if (import.meta.main) {
  const done = await bundlePackages({ all: process.argv.includes("--all") });
  console.log(done.length === 0 ? "Nothing has changed." : `Bundled ${done.join(", ")}.`);
}
