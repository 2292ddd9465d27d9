import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Who writes a temporary file: a process, in a PID namespace, since a boot, of a machine. */
interface Writer {
  /** Undefined if the machine has no identity. */
  readonly machine: string | undefined;
  readonly boot: string;
  readonly namespace: string;
  readonly process: number;
}

let known: Writer | undefined;

function thisWriter(): Writer {
  const machine = textOf("/etc/machine-id");
  known ??= {
    machine: machine === "" ? undefined : digest(machine, 8),
    boot: digest(textOf("/proc/sys/kernel/random/boot_id"), 8),
    namespace: /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0",
    process: process.pid,
  };
  return known;
}

/**
 * A name beside a file for what will replace it. It tells who writes, so that {@link removeAbandoned} knows whether
 * anybody still does.
 */
export function temporaryName(path: string): string {
  const { machine = "0", boot, namespace, process } = thisWriter();
  const random = randomBytes(4).toString("hex");
  return join(dirname(path), `${prefixFor(path)}${machine}-${boot}-${namespace}-${process}-${random}.tmp`);
}

/**
 * Removes what processes that were killed have left beside a file. A file is left alone whose writer may be alive: one
 * on another machine or in another PID namespace, or a process of the same number. Problems are no reason not to save.
 */
export function removeAbandoned(path: string): void {
  const folder = dirname(path);
  const prefix = prefixFor(path);
  try {
    for (const name of readdirSync(folder)) {
      if (name.startsWith(prefix) && isAbandoned(name.slice(prefix.length))) {
        unlinkSync(join(folder, name));
      }
    }
  } catch {
    // The next save tries again.
  }
}

function isAbandoned(rest: string): boolean {
  const match = /^([0-9a-f]+)-([0-9a-f]+)-(\d+)-(\d+)-[0-9a-f]+\.tmp$/.exec(rest);
  if (match === null) {
    return false;
  }
  const [, machine, boot, namespace, process] = match;
  const here = thisWriter();
  if (boot !== here.boot) {
    // An earlier boot of this machine has no processes any more; another machine may share the file system.
    return machine === here.machine;
  }
  return namespace === here.namespace && !isAlive(Number(process));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Begins with a dot and tells the file's name, unless that is so long that there would be no room for the rest. */
function prefixFor(path: string): string {
  const name = basename(path);
  return `.${Buffer.byteLength(name) > 150 ? digest(name, 32) : name}.`;
}

function digest(text: string, length: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, length);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return "";
  }
}
