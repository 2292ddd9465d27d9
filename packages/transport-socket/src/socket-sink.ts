import { connect, type Socket } from "node:net";
import { pushAll, type TransportSink } from "@cpr/core";
import { reasonOf, socketErrors } from "./errors.ts";
import type { SocketAddress } from "./socket-address.ts";

/** Sends a stream over a connected socket. */
export class SocketSink implements TransportSink {
  readonly #uri: string;
  readonly #socket: Socket;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.#break();
  #failure: Error | undefined;
  #state: "open" | "committed" | "aborted" = "open";

  private constructor(uri: string, socket: Socket, signal: AbortSignal | undefined) {
    this.#uri = uri;
    this.#socket = socket;
    this.#signal = signal;
    // The receiver has nothing to say; reading tells when it closes its end.
    socket.resume();
    socket.on("error", (error) => {
      this.#failure = error;
    });
    signal?.addEventListener("abort", this.#onAbort);
  }

  /** Connects. @throws {CprError} ERR_CPR_SOCKET_CONNECT */
  static async open(
    uri: string,
    { connect: options }: SocketAddress,
    signal: AbortSignal | undefined,
  ): Promise<SocketSink> {
    const socket = connect(options);
    const onAbort = (): void => void socket.destroy();
    signal?.addEventListener("abort", onAbort);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve).once("error", reject);
        socket.once("close", () => reject(new Error("it was closed")));
      });
    } catch (cause) {
      socket.destroy();
      signal?.throwIfAborted();
      throw socketErrors.ERR_CPR_SOCKET_CONNECT({ uri, reason: reasonOf(cause) }, { cause });
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
    return new SocketSink(uri, socket, signal);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    try {
      await pushAll(this.#socket, bytes);
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw this.#broken(error);
    }
    this.#signal?.throwIfAborted();
  }

  /** Ends the stream and waits until the receiver, having read all of it, closes the connection. */
  async commit(): Promise<void> {
    this.#checkOpen();
    await new Promise<void>((resolve) => {
      this.#socket.once("close", () => resolve());
      this.#socket.end();
      if (this.#socket.closed) {
        resolve();
      }
    });
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#signal?.throwIfAborted();
    if (this.#failure !== undefined) {
      throw this.#broken(this.#failure);
    }
    this.#state = "committed";
  }

  async abort(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    if (this.#state === "open") {
      this.#state = "aborted";
      this.#break();
    }
  }

  #break(): void {
    // The receiver gets an error rather than an end, where the kind of socket knows the difference.
    if (this.#socket.remotePort === undefined) {
      this.#socket.destroy();
    } else {
      this.#socket.resetAndDestroy();
    }
  }

  #broken(cause: unknown): Error {
    return socketErrors.ERR_CPR_SOCKET_BROKEN({ uri: this.#uri, reason: reasonOf(cause) }, { cause });
  }

  #checkOpen(): void {
    this.#signal?.throwIfAborted();
    if (this.#state !== "open") {
      throw new TypeError(`the sink is ${this.#state}`);
    }
  }
}
