import { createServer, type Socket } from "node:net";
import { PullReader, type TransportSource } from "@cpr/core";
import { reasonOf, socketErrors } from "./errors.ts";
import type { SocketAddress } from "./socket-address.ts";

/** Receives a stream from the first one who connects. */
export class SocketSource implements TransportSource {
  readonly #uri: string;
  readonly #socket: Socket;
  readonly #reader: PullReader;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.#socket.destroy();

  private constructor(uri: string, socket: Socket, signal: AbortSignal | undefined) {
    this.#uri = uri;
    this.#socket = socket;
    this.#signal = signal;
    this.#reader = new PullReader(socket);
    signal?.addEventListener("abort", this.#onAbort);
  }

  /** Listens, and waits for a sender. @throws {CprError} ERR_CPR_SOCKET_LISTEN */
  static async open(uri: string, { listen }: SocketAddress, signal: AbortSignal | undefined): Promise<SocketSource> {
    const server = createServer();
    const onAbort = (): void => void server.close();
    signal?.addEventListener("abort", onAbort);
    try {
      const socket = await new Promise<Socket>((resolve, reject) => {
        server.once("connection", resolve).once("error", reject);
        server.once("close", () => reject(new Error("it was closed")));
        server.listen(listen);
      });
      return new SocketSource(uri, socket, signal);
    } catch (cause) {
      signal?.throwIfAborted();
      throw socketErrors.ERR_CPR_SOCKET_LISTEN({ uri, reason: reasonOf(cause) }, { cause });
    } finally {
      signal?.removeEventListener("abort", onAbort);
      server.close();
    }
  }

  async read(buffer: Uint8Array): Promise<number> {
    this.#signal?.throwIfAborted();
    try {
      return await this.#reader.read(buffer);
    } catch (cause) {
      this.#signal?.throwIfAborted();
      throw socketErrors.ERR_CPR_SOCKET_BROKEN({ uri: this.#uri, reason: reasonOf(cause) }, { cause });
    } finally {
      this.#signal?.throwIfAborted();
    }
  }

  async close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    if (this.#socket.closed) {
      return;
    }
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    if (this.#reader.ended) {
      this.#socket.end();
    } else {
      this.#socket.destroy();
    }
    await closed;
  }
}
