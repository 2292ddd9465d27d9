import {
  type Abortable,
  CprError,
  type Transport,
  type TransportSink,
  type TransportSource,
  type TransportSupports,
  type TransportUri,
} from "@cpr/core";

/** How a {@link MemoryTransport} misbehaves. */
export interface MemoryTransportOptions {
  /** The write that would bring the stream beyond this many bytes fails, as on a full disk. */
  readonly capacity?: number;
  /** {@link TransportSink.commit} fails. */
  readonly failsAtCommit?: boolean;
}

/** Keeps streams in the memory of this process, under the names that follow `memory:`. */
export class MemoryTransport implements Transport {
  readonly scheme = "memory";
  readonly supports: TransportSupports = {
    stores: true,
    seekable: true,
    parallel: false,
    passesDescriptors: false,
  };
  /** What has been committed, by name. A test may put streams here, or damage them. */
  readonly streams = new Map<string, Uint8Array>();
  readonly #options: MemoryTransportOptions;

  constructor(options: MemoryTransportOptions = {}) {
    this.#options = options;
  }

  async openSink(uri: TransportUri, options: Abortable = {}): Promise<TransportSink> {
    options.signal?.throwIfAborted();
    checkName(uri);
    return new MemorySink(uri, this.streams, this.#options);
  }

  async openSource(uri: TransportUri, options: Abortable = {}): Promise<TransportSource> {
    options.signal?.throwIfAborted();
    checkName(uri);
    const bytes = this.streams.get(uri.rest);
    if (bytes === undefined) {
      throw failure(uri, "there is no such stream");
    }
    return new MemorySource(bytes);
  }
}

class MemorySink implements TransportSink {
  readonly #uri: TransportUri;
  readonly #streams: Map<string, Uint8Array>;
  readonly #options: MemoryTransportOptions;
  #bytes = new Uint8Array(4096);
  #length = 0;
  #appended = 0;
  #open = true;

  constructor(uri: TransportUri, streams: Map<string, Uint8Array>, options: MemoryTransportOptions) {
    this.#uri = uri;
    this.#streams = streams;
    this.#options = options;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.writeAt(this.#appended, bytes);
    this.#appended += bytes.length;
  }

  async writeAt(position: number, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    const end = position + bytes.length;
    if (end > (this.#options.capacity ?? Number.POSITIVE_INFINITY)) {
      throw failure(this.#uri, "No space left on device");
    }
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, position);
    this.#length = Math.max(this.#length, end);
  }

  async commit(): Promise<void> {
    this.#checkOpen();
    if (this.#options.failsAtCommit === true) {
      throw failure(this.#uri, "Input/output error");
    }
    this.#open = false;
    this.#streams.set(this.#uri.rest, this.#bytes.slice(0, this.#length));
  }

  async abort(): Promise<void> {
    this.#open = false;
  }

  #checkOpen(): void {
    if (!this.#open) {
      throw new TypeError("the sink is closed");
    }
  }
}

class MemorySource implements TransportSource {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  async read(buffer: Uint8Array): Promise<number> {
    const count = await this.readAt(this.#position, buffer);
    this.#position += count;
    return count;
  }

  async readAt(position: number, buffer: Uint8Array): Promise<number> {
    const part = this.#bytes.subarray(position, position + buffer.length);
    buffer.set(part);
    return part.length;
  }

  async close(): Promise<void> {}
}

function checkName(uri: TransportUri): void {
  if (uri.rest === "" || uri.rest.includes("/")) {
    throw failure(uri, "the name is empty or has a slash");
  }
}

function failure(uri: TransportUri, reason: string): CprError {
  return new CprError("ERR_CPR_MEMORY_TRANSPORT", "input", `Cannot use '${uri.text}': ${reason}`, {
    details: { uri: uri.text, reason },
  });
}
