import { Socket } from "node:net";
import type { Duplex, Readable, Writable } from "node:stream";
import type { TransportSink, TransportSource } from "./transport.ts";

/**
 * Reads from a stream of Node the way that a {@link TransportSource} is read: whole buffers, fewer bytes only at the
 * end. One read at a time.
 */
export class PullReader {
  readonly #stream: Readable;
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    const changed = (): void => this.#wake();
    stream
      .on("readable", changed)
      .on("end", () => {
        this.#ended = true;
        changed();
      })
      .on("close", () => {
        // A stream that is destroyed closes without an end.
        this.#ended = true;
        changed();
      })
      .on("error", (error) => {
        this.#failure = error;
        changed();
      });
  }

  /** Whether the stream has come to its end. */
  get ended(): boolean {
    return this.#ended;
  }

  /** @throws what the stream failed with. */
  async read(buffer: Uint8Array): Promise<number> {
    let count = 0;
    while (count < buffer.length) {
      const available = Math.min(this.#stream.readableLength, buffer.length - count);
      const chunk = available > 0 ? (this.#stream.read(available) as Uint8Array | null) : null;
      if (chunk !== null) {
        buffer.set(chunk, count);
        count += chunk.length;
      } else if (this.#failure !== undefined) {
        throw this.#failure;
      } else if (this.#ended) {
        break;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          // Nothing is buffered: this makes the stream fetch more, and tell when it ends.
          this.#stream.read(0);
        });
      }
    }
    return count;
  }
}

/** Writes to a stream of Node; fulfilled when the bytes were handed on, so that the buffer may be reused. */
export function pushAll(stream: Writable, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)));
  });
}

/** What a {@link ConnectionSink} or {@link ConnectionSource} is made of. */
export interface ConnectionOptions {
  /** Connected already; it belongs to the sink or source. A pipe has only one of the two directions. */
  readonly connection: Duplex;
  /** The transport's error for what the connection failed with. */
  failed(cause: unknown): Error;
  readonly signal: AbortSignal | undefined;
}

/** Sends a stream over a connection to a live process: a socket or a pipe. */
export class ConnectionSink implements TransportSink {
  readonly #options: ConnectionOptions;
  readonly #onAbort = (): void => void this.#break();
  #failure: Error | undefined;
  #state: "open" | "committed" | "aborted" = "open";

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { connection, signal } = options;
    // The receiver has nothing to say; reading tells when it closes its end.
    connection.resume();
    connection.on("error", (error) => {
      this.#failure = error;
    });
    signal?.addEventListener("abort", this.#onAbort);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    const { connection, signal, failed } = this.#options;
    try {
      await pushAll(connection, bytes);
    } catch (error) {
      signal?.throwIfAborted();
      throw failed(error);
    }
    signal?.throwIfAborted();
  }

  /** Ends the stream and waits until the receiver, having read all of it, closes a socket. A pipe is closed at once. */
  async commit(): Promise<void> {
    this.#checkOpen();
    const { connection, signal, failed } = this.#options;
    await new Promise<void>((resolve) => {
      connection.once("close", () => resolve());
      connection.end();
      if (connection.closed) {
        resolve();
      }
    });
    signal?.removeEventListener("abort", this.#onAbort);
    signal?.throwIfAborted();
    if (this.#failure !== undefined) {
      throw failed(this.#failure);
    }
    this.#state = "committed";
  }

  async abort(): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    if (this.#state === "open") {
      this.#state = "aborted";
      this.#break();
    }
  }

  #break(): void {
    const { connection } = this.#options;
    // The receiver gets an error rather than an end, where the kind of connection knows the difference.
    if (connection instanceof Socket && connection.remotePort !== undefined) {
      connection.resetAndDestroy();
    } else {
      connection.destroy();
    }
  }

  #checkOpen(): void {
    this.#options.signal?.throwIfAborted();
    if (this.#state !== "open") {
      throw new TypeError(`the sink is ${this.#state}`);
    }
  }
}

/** Receives a stream over a connection from a live process: a socket or a pipe. */
export class ConnectionSource implements TransportSource {
  readonly #options: ConnectionOptions;
  readonly #reader: PullReader;
  readonly #onAbort = (): void => void this.#options.connection.destroy();

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#reader = new PullReader(options.connection);
    options.signal?.addEventListener("abort", this.#onAbort);
  }

  async read(buffer: Uint8Array): Promise<number> {
    const { signal, failed } = this.#options;
    signal?.throwIfAborted();
    try {
      return await this.#reader.read(buffer);
    } catch (cause) {
      signal?.throwIfAborted();
      throw failed(cause);
    } finally {
      signal?.throwIfAborted();
    }
  }

  async close(): Promise<void> {
    const { connection, signal } = this.#options;
    signal?.removeEventListener("abort", this.#onAbort);
    if (connection.closed) {
      return;
    }
    const closed = new Promise<void>((resolve) => connection.once("close", () => resolve()));
    if (this.#reader.ended) {
      connection.end();
    } else {
      connection.destroy();
    }
    await closed;
  }
}
