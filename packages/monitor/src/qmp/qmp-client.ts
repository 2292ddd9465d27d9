import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { CprError, type ErrorCategory, systemReason } from "@cpr/core";
import type { DescriptorSocket } from "@cpr/native-socket";
import { monitorErrors } from "../monitor-errors.ts";
import type { VersionInformation } from "../version.ts";
import { JsonScanner } from "./json-scanner.ts";
import type { QmpEvent } from "./qmp-events.ts";
import type { QmpError } from "./qmp-messages.ts";

/** What a server sends. */
interface Incoming {
  readonly QMP?: { readonly version: VersionInformation; readonly capabilities: readonly string[] };
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: QmpError;
  readonly event?: string;
}

interface Pending {
  readonly command: string;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/**
 * A client of QMP, for this program's VMs and for QEMU's.
 *
 * @example
 * ```ts
 * await using client = await QmpClient.connect("/run/vm/qmp.sock");
 * client.on((event) => console.log(event.event));
 * const { status } = (await client.execute("query-status")) as { status: string };
 * ```
 */
export class QmpClient implements AsyncDisposable {
  readonly #path: string;
  readonly #socket: Duplex;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #greeting = Promise.withResolvers<NonNullable<Incoming["QMP"]>>();
  #lastId = 0;
  #problem: Error | undefined;
  /** Fulfilled when the connection is gone, from whichever side. */
  readonly closed: Promise<void>;

  private constructor(path: string, socket: Duplex) {
    this.#path = path;
    this.#socket = socket;
    const scanner = new JsonScanner();
    socket.on("data", (bytes: Buffer) => {
      try {
        for (const message of scanner.scan(bytes)) {
          if ("error" in message) throw new SyntaxError(message.error);
          this.#receive(JSON.parse(message.text) as Incoming);
        }
      } catch (cause) {
        const problem = cause instanceof Error ? cause.message : String(cause);
        this.#problem ??= monitorErrors.ERR_CPR_QMP_PROTOCOL({ path, problem }, { cause });
        socket.destroy();
      }
    });
    // A connection that breaks closes.
    socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        const error = this.#problem ?? monitorErrors.ERR_CPR_QMP_CLOSED({ path });
        this.#greeting.reject(error);
        for (const { reject } of this.#pending.values()) reject(error);
        this.#pending.clear();
        resolve();
      });
    });
    // Who does not wait for the greeting any more need not hear that it will not come.
    this.#greeting.promise.catch(() => undefined);
  }

  /**
   * Connects and negotiates.
   *
   * @param listener - hears all events, also those that come together with the answer to the negotiation.
   * @throws {CprError} ERR_CPR_QMP_CONNECT, ERR_CPR_QMP_PROTOCOL, ERR_CPR_QMP_CLOSED
   */
  static async connect(path: string, listener?: (event: QmpEvent) => void): Promise<QmpClient> {
    const socket = await connectTo(path).catch((cause) => {
      throw monitorErrors.ERR_CPR_QMP_CONNECT({ path, reason: systemReason(cause) }, { cause });
    });
    const client = new QmpClient(path, socket);
    if (listener !== undefined) {
      client.on(listener);
    }
    await client.#greeting.promise;
    await client.execute("qmp_capabilities");
    return client;
  }

  /** The server's version, from its greeting. */
  async version(): Promise<VersionInformation> {
    return (await this.#greeting.promise).version;
  }

  /**
   * Carries out a command. Commands of one client are carried out one after the other.
   *
   * @param descriptors - open descriptors that are sent with the command; they stay the caller's.
   * @returns what the command answers; an empty object if nothing.
   * @throws {CprError} as in the VM's process: with its code, category, hint and details; from a server that does not tell
   * these, ERR_CPR_QMP_REFUSED. ERR_CPR_QMP_CLOSED if the connection ends before the answer.
   */
  async execute(
    command: string,
    values: Readonly<Record<string, unknown>> = {},
    descriptors: readonly number[] = [],
  ): Promise<unknown> {
    if (this.#socket.destroyed) {
      throw this.#problem ?? monitorErrors.ERR_CPR_QMP_CLOSED({ path: this.#path });
    }
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
      const message = `${JSON.stringify({ execute: command, arguments: values, id })}\n`;
      if (descriptors.length === 0) {
        this.#socket.write(message);
      } else if ("send" in this.#socket) {
        (this.#socket as DescriptorSocket).send(Buffer.from(message), descriptors).catch(reject);
      } else {
        reject(monitorErrors.ERR_CPR_QMP_NO_DESCRIPTORS({ command }));
      }
    });
  }

  /** Hears the events from now on. Returns what ends it. */
  on(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Waits for the next event that is `accept`ed.
   *
   * @throws {CprError} ERR_CPR_QMP_CLOSED if the connection ends before.
   */
  async event(accept: (event: QmpEvent) => boolean): Promise<QmpEvent> {
    const { promise, resolve, reject } = Promise.withResolvers<QmpEvent>();
    const forget = this.on((event) => {
      if (accept(event)) resolve(event);
    });
    void this.closed.then(() => reject(this.#problem ?? monitorErrors.ERR_CPR_QMP_CLOSED({ path: this.#path })));
    try {
      return await promise;
    } finally {
      forget();
    }
  }

  /** Ends the connection; the VM goes on. */
  async close(): Promise<void> {
    this.#socket.destroy();
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive(message: Incoming): void {
    if (message.QMP !== undefined) {
      this.#greeting.resolve(message.QMP);
    } else if (message.event !== undefined) {
      for (const listener of this.#listeners) listener(message as QmpEvent);
    } else {
      const pending = this.#pending.get(message.id ?? 0);
      this.#pending.delete(message.id ?? 0);
      if (message.error === undefined) pending?.resolve(message.return);
      else pending?.reject(errorOf(pending.command, message.error));
    }
  }
}

/** The error that a server has told, as it was in its process. */
function errorOf(command: string, { class: name, desc, cpr }: QmpError): Error {
  if (cpr === undefined) {
    return monitorErrors.ERR_CPR_QMP_REFUSED({ command, class: name, reason: desc });
  }
  const { code, category, hint, details } = cpr;
  return new CprError(code, category as ErrorCategory, desc, { details, hint });
}

/** With Node's own socket where there is no addon, which sends no descriptors. */
async function connectTo(path: string): Promise<Duplex> {
  const { DescriptorSocket, isAvailable } = await import("@cpr/native-socket");
  if (isAvailable()) {
    return DescriptorSocket.connect([path]);
  }
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("error", reject);
  });
  return socket;
}
