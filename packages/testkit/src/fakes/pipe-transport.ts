import {
  type Abortable,
  CprError,
  type Transport,
  type TransportSink,
  type TransportSource,
  type TransportUri,
} from "@cpr/core";

/** How many bytes a {@link PipeTransport} holds for a receiver that does not read, as a pipe of Linux does. */
const capacity = 65_536;

/** Streams from a sink to a source in the same process, under the names that follow `pipe:`. It stores nothing. */
export class PipeTransport implements Transport {
  readonly scheme = "pipe";
  readonly supports = { stores: false, seekable: false, parallel: false, passesDescriptors: false } as const;
  readonly #listeners = new Map<string, (pipe: Pipe) => void>();

  async openSink(uri: TransportUri, options: Abortable = {}): Promise<TransportSink> {
    options.signal?.throwIfAborted();
    checkName(uri);
    const listener = this.#listeners.get(uri.rest);
    if (listener === undefined) {
      throw failure(uri, "Connection refused");
    }
    this.#listeners.delete(uri.rest);
    const pipe = new Pipe(uri);
    listener(pipe);
    return {
      write: (bytes) => pipe.write(bytes),
      commit: async () => pipe.end(),
      abort: async () => pipe.break(),
    };
  }

  async openSource(uri: TransportUri, options: Abortable = {}): Promise<TransportSource> {
    options.signal?.throwIfAborted();
    checkName(uri);
    const { promise, resolve, reject } = Promise.withResolvers<Pipe>();
    this.#listeners.set(uri.rest, resolve);
    const onAbort = () => {
      this.#listeners.delete(uri.rest);
      reject(options.signal?.reason);
    };
    options.signal?.addEventListener("abort", onAbort);
    const pipe = await promise.finally(() => options.signal?.removeEventListener("abort", onAbort));
    return { read: (buffer) => pipe.read(buffer), close: async () => pipe.close() };
  }
}

/** Bytes under way from one end to the other. */
class Pipe {
  readonly #uri: TransportUri;
  readonly #queue: Uint8Array[] = [];
  #queued = 0;
  #state: "open" | "ended" | "broken" | "closed" = "open";
  #onChange: (() => void)[] = [];

  constructor(uri: TransportUri) {
    this.#uri = uri;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      await this.#until(() => this.#state !== "open" || this.#queued < capacity);
      if (this.#state !== "open") {
        throw failure(this.#uri, "Broken pipe");
      }
      const piece = bytes.slice(at, at + capacity - this.#queued);
      this.#queue.push(piece);
      this.#queued += piece.length;
      at += piece.length;
      this.#changed();
    }
  }

  async read(buffer: Uint8Array): Promise<number> {
    let count = 0;
    while (count < buffer.length) {
      await this.#until(() => this.#queue.length > 0 || this.#state !== "open");
      const piece = this.#queue.shift();
      if (piece === undefined) {
        if (this.#state === "broken") {
          throw failure(this.#uri, "the sender gave up");
        }
        break;
      }
      const part = piece.subarray(0, buffer.length - count);
      buffer.set(part, count);
      count += part.length;
      this.#queued -= part.length;
      if (part.length < piece.length) {
        this.#queue.unshift(piece.subarray(part.length));
      }
      this.#changed();
    }
    return count;
  }

  end(): void {
    this.#leave("ended");
  }

  break(): void {
    this.#leave("broken");
  }

  close(): void {
    this.#leave("closed");
  }

  #leave(state: "ended" | "broken" | "closed"): void {
    if (this.#state === "open") {
      this.#state = state;
      this.#changed();
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => this.#onChange.push(resolve));
    }
  }

  #changed(): void {
    const waiting = this.#onChange;
    this.#onChange = [];
    for (const resolve of waiting) {
      resolve();
    }
  }
}

function checkName(uri: TransportUri): void {
  if (uri.rest === "") {
    throw failure(uri, "the name is empty");
  }
}

function failure(uri: TransportUri, reason: string): CprError {
  return new CprError("ERR_CPR_PIPE_TRANSPORT", "input", `Cannot use '${uri.text}': ${reason}`, {
    details: { uri: uri.text, reason },
  });
}
