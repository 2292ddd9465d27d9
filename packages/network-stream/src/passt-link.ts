import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { PolledDescriptor } from "@cpr/native-socket";
import { streamErrors } from "./errors.ts";
import { SocketLink } from "./socket-link.ts";

/** The connections through it are those of its process, which ends with ours. */
const supports = { offloads: false, survivesProcessExit: false } as const;

/** The descriptor that the program finds its end of the connection at. */
const itsDescriptor = 3;

/** What a {@link PasstLink} is made from. */
export interface PasstLinkOptions {
  readonly id: string;
  /** Path or name of the program. */
  readonly program: string;
  readonly words: readonly string[];
}

/**
 * User-mode networking through the program passt (passt(1)), which belongs to the VM: it is started when the VM first runs, stays
 * while the VM is stopped, so that connections outlive that, and ends when its connection does.
 */
export class PasstLink extends SocketLink {
  readonly #options: PasstLinkOptions;

  constructor(options: PasstLinkOptions) {
    super(supports);
    this.#options = options;
  }

  protected async connect(): Promise<void> {
    if (this.up) return;
    const [mine, its] = PolledDescriptor.pair();
    try {
      await this.#run(its);
      this.connected(mine);
    } catch (error) {
      mine.close();
      throw error;
    } finally {
      closeSync(its);
    }
  }

  protected release(): void {
    // It is nobody else's.
  }

  protected lost(): void {
    // The next start of the VM starts another.
  }

  /** Starts the program; fulfilled when it has set everything up and gone to the background. */
  async #run(descriptor: number): Promise<void> {
    const { id, program, words } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const child = spawn(program, ["--quiet", "--fd", String(itsDescriptor), ...words], {
      stdio: ["ignore", "ignore", "pipe", descriptor],
    });
    let said = "";
    child.stderr?.on("data", (bytes: Buffer) => {
      said += bytes.toString();
    });
    child.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === "ENOENT"
          ? streamErrors.ERR_CPR_NETWORK_PASST_MISSING({ id, program }, { cause })
          : streamErrors.ERR_CPR_NETWORK_PASST({ id, reason: cause.message }, { cause }),
      );
    });
    child.once("exit", (status, signal) => {
      if (status === 0) {
        // Its child has the pipe too.
        child.stderr?.destroy();
        resolve();
      } else {
        child.once("close", () => {
          const end = signal === null ? `it ended with status ${status}` : `it was ended by ${signal}`;
          reject(streamErrors.ERR_CPR_NETWORK_PASST({ id, reason: lastLine(said) ?? end }));
        });
      }
    });
    await promise;
  }
}

const lastLine = (text: string): string | undefined => text.trim().split("\n").at(-1) || undefined;
