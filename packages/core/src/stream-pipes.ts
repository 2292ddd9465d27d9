import type { Readable, Writable } from "node:stream";

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
