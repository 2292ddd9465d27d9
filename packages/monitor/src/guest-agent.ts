import { randomInt } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type CprError, systemReason } from "@cpr/core";
import { monitorErrors } from "./monitor-errors.ts";
import { JsonScanner } from "./qmp/json-scanner.ts";

/** What an agent sends. */
interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
}

/**
 * A byte that is in no JSON: the other side forgets what it had before it, and complains of it as of an error (QEMU
 * docs/interop/qemu-ga-ref, guest-sync-delimited).
 */
const delimiter = 0xff;

/** What the agent says where the guest's firmware or kernel has no such sleep (qga/commands-posix.c). */
const unsupported = /not supported by the guest/;

/**
 * The host's side of the channel to QEMU's guest agent, which speaks much as QMP does, but sends no greeting, and does not answer where
 * there is none in the guest (QEMU docs/interop/qemu-ga.rst).
 *
 * @example
 * ```ts
 * using agent = await GuestAgent.connect("/run/vm/qga.sock");
 * await agent.synchronize(AbortSignal.timeout(5000));
 * ```
 */
export class GuestAgent implements Disposable {
  readonly path: string;
  readonly #socket: Socket;
  readonly #closed: Promise<void>;
  #onReply: (reply: Reply) => void = () => undefined;

  private constructor(path: string, socket: Socket) {
    this.path = path;
    this.#socket = socket;
    // A connection that breaks closes.
    socket.on("error", () => undefined);
    this.#closed = new Promise((resolve) => {
      socket.on("close", () => resolve());
    });
    const scanner = new JsonScanner();
    socket.on("data", (bytes: Buffer) => {
      for (const message of scanner.scan(bytes)) {
        const reply = "text" in message ? parseReply(message.text) : undefined;
        // What is no reply is left of what was said to somebody else.
        if (reply !== undefined) this.#onReply(reply);
      }
    });
  }

  /** @throws {CprError} ERR_CPR_AGENT_CONNECT */
  static async connect(path: string): Promise<GuestAgent> {
    const socket = connect(path);
    try {
      await once(socket, "connect");
    } catch (cause) {
      throw monitorErrors.ERR_CPR_AGENT_CONNECT({ path, reason: systemReason(cause) }, { cause });
    }
    return new GuestAgent(path, socket);
  }

  /**
   * Finds out that an agent listens, and gets rid of what is left of earlier conversations.
   *
   * @param signal - how long it may take to answer.
   * @throws {CprError} ERR_CPR_AGENT_SILENT, ERR_CPR_AGENT_CLOSED
   */
  async synchronize(signal: AbortSignal): Promise<void> {
    const id = randomInt(2 ** 31);
    const answered = this.#until(({ return: result }) => (result === id ? true : undefined));
    this.#socket.write(Uint8Array.of(delimiter));
    this.#send("guest-sync-delimited", { id });
    const { promise: silent, reject } = Promise.withResolvers<never>();
    const giveUp = (): void => reject(monitorErrors.ERR_CPR_AGENT_SILENT({ path: this.path }));
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      await Promise.race([answered, silent]);
    } finally {
      signal.removeEventListener("abort", giveUp);
      this.#onReply = () => undefined;
    }
  }

  /**
   * Tells the agent to suspend the guest to RAM, which it does not answer unless it cannot.
   *
   * @returns a promise that is fulfilled if the agent refuses, with why: ERR_CPR_AGENT_NO_SUSPEND if the guest is not able to, otherwise
   * ERR_CPR_AGENT_REFUSED; or if the channel is gone, with ERR_CPR_AGENT_CLOSED.
   */
  suspendToRam(): Promise<CprError> {
    const command = "guest-suspend-ram";
    const refused = this.#until(({ error }) => {
      if (error === undefined) return undefined;
      const { class: name, desc: reason } = error;
      return name === "CommandNotFound" || unsupported.test(reason)
        ? monitorErrors.ERR_CPR_AGENT_NO_SUSPEND({ path: this.path, reason })
        : monitorErrors.ERR_CPR_AGENT_REFUSED({ path: this.path, command, class: name, reason });
    });
    this.#send(command);
    return refused.catch((error: CprError) => error);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #send(command: string, values?: Readonly<Record<string, unknown>>): void {
    this.#socket.write(
      `${JSON.stringify({ execute: command, ...(values === undefined ? {} : { arguments: values }) })}\n`,
    );
  }

  /** The first that `accept` makes of a reply. @throws {CprError} ERR_CPR_AGENT_CLOSED */
  #until<T>(accept: (reply: Reply) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#onReply = (reply) => {
        const result = accept(reply);
        if (result !== undefined) resolve(result);
      };
      void this.#closed.then(() => reject(monitorErrors.ERR_CPR_AGENT_CLOSED({ path: this.path })));
    });
  }
}

function parseReply(text: string): Reply | undefined {
  try {
    const reply = JSON.parse(text) as unknown;
    return typeof reply === "object" && reply !== null ? reply : undefined;
  } catch {
    return undefined;
  }
}
