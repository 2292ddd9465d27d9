import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isCprError, systemReason, untilAborted } from "@cpr/core";
import { QmpClient } from "@cpr/monitor";
import { hostErrors } from "./host-errors.ts";
import type { VmFiles } from "./host-folders.ts";
import type { VmDefinition } from "./vm-definition.ts";

/** How often a process is looked after, in milliseconds. */
const interval = 10;

/** How much of what a process said last is looked at, in bytes. */
const errorsLength = 4096;

/** How a process is known again: its number may have gone to another one meanwhile. */
interface ProcessNote {
  readonly pid: number;
  readonly started: string;
}

/** What a process of a VM is started from. */
export interface VmProcessOptions {
  readonly name: string;
  readonly definition: VmDefinition;
  readonly files: VmFiles;
  /** The words of the command `cpr`. */
  readonly program: readonly string[];
  /** Further options of `cpr run`. */
  readonly more?: readonly string[];
  /** Gives the start up: the process is ended. */
  readonly signal: AbortSignal;
}

/** The process of a registered VM, which does not end with the one that started it. */
export class VmProcess {
  readonly #note: ProcessNote;
  readonly #files: VmFiles;

  private constructor(note: ProcessNote, files: VmFiles) {
    this.#note = note;
    this.#files = files;
  }

  /** The process of a VM, if there is one. */
  static find(files: VmFiles): VmProcess | undefined {
    let note: ProcessNote;
    try {
      note = JSON.parse(readFileSync(files.process, "utf8")) as ProcessNote;
    } catch {
      return undefined;
    }
    const process = new VmProcess(note, files);
    return process.alive ? process : undefined;
  }

  /**
   * Starts a process and waits until there is a VM in it.
   *
   * @throws {CprError} ERR_CPR_HOST_START; the signal's reason if that is given. The process has ended then.
   */
  static async start(options: VmProcessOptions): Promise<{ process: VmProcess; client: QmpClient }> {
    const { name, definition, files, program, more = [], signal } = options;
    const console = openSync(files.console, "a", 0o600);
    const errors = openSync(files.errors, "a", 0o600);
    try {
      const saidBefore = fstatSync(errors).size;
      const [command = "", ...words] = [
        ...scopeOf(name),
        ...program,
        ...["run", "-name", name, ...definition.options, ...more],
        ...["-qmp", `unix:${files.socket.replaceAll(",", ",,")},server=on,wait=off`],
      ];
      const child = spawn(command, words, {
        cwd: definition.workingDirectory,
        // A session of its own, so that no terminal's end reaches it.
        detached: true,
        stdio: ["ignore", console, errors],
      });
      const failed = (cause: unknown) =>
        hostErrors.ERR_CPR_HOST_START({ name, reason: systemReason(cause) }, { cause });
      await once(child, "spawn").catch((cause) => {
        // NOTE: the system blames the command if the folder is not there.
        throw existsSync(definition.workingDirectory)
          ? failed(cause)
          : failed(new Error(`there is no folder '${definition.workingDirectory}'`));
      });
      child.unref();
      const pid = child.pid as number;
      const note = { pid, started: startOf(pid) ?? "" };
      const process = new VmProcess(note, files);
      try {
        writeFileSync(files.process, JSON.stringify(note), { mode: 0o600 });
        const client = await process.connect(signal);
        return { process, client };
      } catch (error) {
        if (process.alive) {
          await process.end();
          throw error;
        }
        throw hostErrors.ERR_CPR_HOST_START({ name, ...lastWords(files.errors, saidBefore) });
      }
    } finally {
      closeSync(console);
      closeSync(errors);
    }
  }

  get pid(): number {
    return this.#note.pid;
  }

  get alive(): boolean {
    return startOf(this.#note.pid) === this.#note.started;
  }

  /**
   * Connects to the VM, which may not be there yet.
   *
   * @throws {CprError} ERR_CPR_QMP_… if the process has ended; the signal's reason if that is given.
   */
  async connect(signal: AbortSignal): Promise<QmpClient> {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await untilAborted(QmpClient.connect(this.#files.socket), signal);
      } catch (error) {
        if (!isCprError(error) || !this.alive) {
          throw error;
        }
      }
      await delay(interval);
    }
  }

  /** Waits for the end of the process. @returns whether it came within these milliseconds. */
  async ended(milliseconds: number): Promise<boolean> {
    for (const end = performance.now() + milliseconds; this.alive; await delay(interval)) {
      if (performance.now() > end) {
        return false;
      }
    }
    rmSync(this.#files.process, { force: true });
    return true;
  }

  /** Ends the process, whatever it does. What its VM had not saved is lost. */
  async end(): Promise<void> {
    for (const [name, milliseconds] of [
      ["SIGTERM", 5000],
      ["SIGKILL", 10_000],
    ] as const) {
      if (this.alive) {
        process.kill(this.pid, name);
      }
      if (await this.ended(milliseconds)) {
        return;
      }
    }
  }
}

/** When a process was started, in the kernel's units since boot; undefined if there is none, or only its exit status is left. */
function startOf(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The command, in parentheses, may have anything in it; what follows begins with field 3 of proc_pid_stat(5).
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return /[ZX]/.test(fields[0] ?? "") ? undefined : fields[22 - 3];
}

/** Why a process ended, from what it said on standard error: `cpr: REASON`, and what can be done about it in the next lines. */
function lastWords(path: string, from: number): { reason: string; advice?: string } {
  const descriptor = openSync(path, "r");
  const buffer = Buffer.alloc(errorsLength);
  const start = Math.max(from, fstatSync(descriptor).size - errorsLength);
  const said = buffer.toString("utf8", 0, readSync(descriptor, buffer, 0, errorsLength, start)).trim();
  closeSync(descriptor);
  const [reason = "", ...advice] = (said.split(/^cpr: /m).at(-1) ?? "").split("\n");
  return reason === "" ? { reason: "it ended without a word" } : { reason, advice: advice.join("\n") };
}

/**
 * What puts a VM into a scope of systemd. A process that is started from a login session ends with the session, so also before
 * the unit that saves the VMs is stopped. That unit's own processes are where they should be.
 */
function scopeOf(name: string): readonly string[] {
  if (process.getuid?.() !== 0 || !existsSync("/run/systemd/system")) {
    return [];
  }
  if (readFileSync("/proc/self/cgroup", "latin1").includes("/cpr-host.service")) {
    return [];
  }
  const options = ["--scope", "--quiet", "--collect", `--unit=cpr-vm-${name}`, "--property=Before=cpr-host.service"];
  return ["systemd-run", ...options, "--"];
}
