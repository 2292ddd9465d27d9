import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { cachedDebianPackages } from "../../../tools/debian-archive.ts";
import { root } from "../../../tools/workspace.ts";

/** strace(1), as a command to put before another one. */
export interface Strace {
  readonly path: string;
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * The host's strace, or Debian's.
 *
 * @throws {DebianArchiveError} if there is neither
 */
export async function findStrace(): Promise<Strace> {
  const installed = ["/usr/bin/strace", "/usr/local/bin/strace"].find((path) => existsSync(path));
  if (installed !== undefined) return { path: installed, environment: {} };
  // It is linked with libunwind, which no minimal system has.
  const folder = await cachedDebianPackages(join(root, ".cache", "strace"), ["strace", "libunwind8"]);
  return {
    path: join(folder, "usr/bin/strace"),
    environment: { LD_LIBRARY_PATH: join(folder, "usr/lib/x86_64-linux-gnu") },
  };
}

/** Traces a process that runs, with rules of strace's own; it is traced when the promise is fulfilled, and until the test ends. */
export async function attachStrace(strace: Strace, pid: number, rules: readonly string[]): Promise<ChildProcess> {
  const words = ["-f", ...rules.flatMap((rule) => ["-e", rule]), "-o", "/dev/null", "-p", String(pid)];
  const tracer = spawn(strace.path, words, {
    env: { ...process.env, ...strace.environment },
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void tracer.kill("SIGKILL"));
  await new Promise<void>((resolve, reject) => {
    let text = "";
    tracer.stderr.on("data", (bytes: Buffer) => {
      text += bytes.toString();
      if (text.includes(" attached")) resolve();
    });
    tracer.once("close", () => reject(new Error(`strace: ${text}`)));
  });
  return tracer;
}
