import { closeSync } from "node:fs";
import { Duplex } from "node:stream";
import { addon, checked, mustWait, type SocketAddress, systemError } from "./addon.ts";
import { connectSocket } from "./make-socket.ts";
import { Watch } from "./watch.ts";

/** How many bytes are read at once. */
const chunkSize = 64 * 1024;

const unread = new WeakMap<Uint8Array, number[]>();

/**
 * Takes the descriptors that came with the last bytes of a chunk, as a `data` event brings it; they are the caller's to
 * close. Descriptors of chunks that nobody asks about stay open.
 */
export function takeDescriptors(chunk: Uint8Array): readonly number[] {
  const descriptors = unread.get(chunk) ?? [];
  unread.delete(chunk);
  return descriptors;
}

/** A connected stream socket that passes descriptors, or one of a family that Node does not know. */
export class DescriptorSocket extends Duplex {
  readonly #descriptor: number;
  readonly #watch: Watch;
  readonly #accompanying = new WeakMap<Uint8Array, readonly number[]>();

  /**
   * @param descriptor - a socket that does not block; it is closed with the stream.
   * @param allowHalfOpen - the stream can be written to after the other side has ended its own.
   */
  constructor(descriptor: number, allowHalfOpen: boolean) {
    super({ allowHalfOpen, decodeStrings: true });
    this.#descriptor = descriptor;
    this.#watch = new Watch(descriptor);
  }

  /**
   * Connects.
   *
   * @throws {Error} with `code`
   */
  static async connect(address: SocketAddress, signal?: AbortSignal): Promise<DescriptorSocket> {
    return new DescriptorSocket(await connectSocket(address, signal), false);
  }

  /** Writes bytes, at least one, with descriptors, which stay the caller's; fulfilled when they were handed on. */
  async send(bytes: Uint8Array, descriptors: readonly number[]): Promise<void> {
    // A view of its own: the same bytes may be sent again with others.
    const chunk = Buffer.from(bytes);
    this.#accompanying.set(chunk, descriptors);
    await new Promise<void>((resolve, reject) => {
      this.write(chunk, (error) => (error === undefined || error === null ? resolve() : reject(error)));
    });
  }

  override _read(): void {
    const buffer = Buffer.allocUnsafe(chunkSize);
    const descriptors: number[] = [];
    const result = addon().receive(this.#descriptor, buffer, descriptors);
    if (mustWait(result)) {
      this.#watch.whenReadable(() => this._read());
      return;
    }
    if (result < 0) {
      this.destroy(systemError("recvmsg", result));
      return;
    }
    const chunk = result === 0 ? null : buffer.subarray(0, result);
    if (chunk !== null && descriptors.length > 0) {
      unread.set(chunk, descriptors);
    }
    this.push(chunk);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#write(chunk, this.#accompanying.get(chunk) ?? [], done);
  }

  override _final(done: (error?: Error) => void): void {
    const result = addon().shutdown(this.#descriptor);
    // The other side may be gone already, which is no failure of what was written.
    done(result < 0 && result !== ENOTCONN ? systemError("shutdown", result) : undefined);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#watch.close();
    closeSync(this.#descriptor);
    done(error);
  }

  #write(bytes: Uint8Array, descriptors: readonly number[], done: (error?: Error) => void): void {
    const result = addon().send(this.#descriptor, bytes, descriptors);
    if (mustWait(result)) {
      this.#watch.whenWritable(() => this.#write(bytes, descriptors, done));
    } else if (result < 0) {
      done(systemError("sendmsg", result));
    } else if (result < bytes.length) {
      this.#write(bytes.subarray(result), [], done);
    } else {
      done();
    }
  }
}

// errno.h
const ENOTCONN = -107;

/** Another descriptor of the same open file, closed on exec. @throws {Error} with `code` */
export function duplicate(descriptor: number): number {
  return checked("fcntl", addon().duplicate(descriptor));
}
