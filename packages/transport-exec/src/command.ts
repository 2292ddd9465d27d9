import type { Duplex, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { execErrors } from "./errors.ts";

/** How much of a command's standard error is kept for its error. */
const stderrLimit = 4096;

/** How long a command has to end by itself after it was told to. */
const patienceMilliseconds = 1000;

interface Ending {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly shortMessage?: string | undefined;
  readonly cause?: unknown;
}

/** A shell command that runs, with all processes that it starts. */
export class Command {
  readonly #uri: string;
  readonly #text: string;
  readonly #pid: number | undefined;
  readonly #ended: Promise<Ending>;
  #stderr = "";

  private constructor(
    uri: string,
    text: string,
    pid: number | undefined,
    stderr: Readable | null,
    ended: Promise<Ending>,
  ) {
    this.#uri = uri;
    this.#text = text;
    this.#pid = pid;
    this.#ended = ended;
    stderr?.setEncoding("utf8").on("data", (piece: string) => {
      this.#stderr = (this.#stderr + piece).slice(-stderrLimit);
    });
  }

  /**
   * Starts a command that reads from us.
   *
   * NOTE: its input goes over file descriptor 3, which the shell then moves to 0. Of that one Node makes a socket that
   * can be read too, and reading tells at the end whether the command has taken every byte (end of file) or left some
   * behind (ECONNRESET). Of a plain standard input nobody would ever know.
   */
  static consumer(uri: string, text: string): { readonly command: Command; readonly input: Duplex } {
    const child = execa("/bin/sh", ["-c", 'exec /bin/sh -c "$1" <&3 3<&-', "sh", text], {
      // A process group of its own, so that all processes of a pipeline can be ended together.
      detached: true,
      reject: false,
      buffer: false,
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const command = new Command(uri, text, child.pid, child.stderr, Promise.resolve(child));
    return { command, input: child.nodeChildProcess.stdio[3] as Duplex };
  }

  /** Starts a command that we read from. */
  static producer(uri: string, text: string): { readonly command: Command; readonly output: Readable } {
    const child = execa("/bin/sh", ["-c", text], {
      detached: true,
      reject: false,
      buffer: false,
      stdio: ["ignore", "pipe", "pipe"],
    });
    return { command: new Command(uri, text, child.pid, child.stderr, Promise.resolve(child)), output: child.stdout };
  }

  /** Waits until the command has ended by itself. Tells why it did not do its work, or nothing if its exit status is 0. */
  async failure(): Promise<Error | undefined> {
    const { exitCode, signal, shortMessage, cause } = await this.#ended;
    if (exitCode === 0) {
      return undefined;
    }
    const reason =
      signal !== undefined
        ? `signal ${signal}`
        : exitCode !== undefined
          ? `exit status ${exitCode}`
          : (shortMessage ?? "an unknown error");
    return execErrors.ERR_CPR_EXEC_FAILED(this.#details(reason), { cause });
  }

  /** Why a command whose exit status is 0 has failed nevertheless. */
  endedEarly(cause: unknown): Error {
    return execErrors.ERR_CPR_EXEC_EARLY(this.#details("exit status 0"), { cause });
  }

  /** Ends all its processes, and waits until the first of them has ended. */
  async end(): Promise<void> {
    this.#signal("SIGTERM");
    const ended = this.#ended.then(() => true);
    if (!(await Promise.race([ended, delay(patienceMilliseconds, false, { ref: false })]))) {
      this.#signal("SIGKILL");
      await ended;
    }
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#pid !== undefined) {
      try {
        process.kill(-this.#pid, signal);
      } catch {
        // It has ended already.
      }
    }
  }

  #details(reason: string) {
    const stderr = this.#stderr
      .trim()
      .split(/\s*\n\s*/)
      .slice(-4)
      .join("; ");
    return { uri: this.#uri, command: this.#text, reason, stderr };
  }
}
