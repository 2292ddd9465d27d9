import { closeSync } from "node:fs";
import { addon, checked, mustWait, type SocketAddress } from "./addon.ts";
import { connectSocket } from "./make-socket.ts";
import { Watch } from "./watch.ts";

/** A descriptor that does not block, without a stream of Node around it: for whoever moves many small messages. */
export class PolledDescriptor {
  readonly #descriptor: number;
  readonly #watch: Watch;
  #open = true;

  /** @param descriptor - one that does not block; it is closed with this. */
  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.#watch = new Watch(descriptor);
  }

  /** A stream socket that is connected to an address. @throws {Error} with `code` */
  static async connect(address: SocketAddress, signal?: AbortSignal): Promise<PolledDescriptor> {
    return new PolledDescriptor(await connectSocket(address, signal));
  }

  /**
   * Two stream sockets that are connected to each other; the second is a bare descriptor, for another process, and blocks as
   * programs expect that are not told otherwise.
   */
  static pair(): readonly [PolledDescriptor, number] {
    const [first, second] = addon().socketPair();
    checked("fcntl", addon().doNotBlock(checked("socketpair", first)));
    return [new PolledDescriptor(first), second];
  }

  /** Reads: the number of bytes, 0 at the end; undefined if there is nothing now. @throws {Error} with `code` */
  read(into: Uint8Array): number | undefined {
    const result = addon().read(this.#descriptor, into);
    return mustWait(result) ? undefined : checked("read", result);
  }

  /** Writes the parts as one: the number of bytes; undefined if none can be written now. @throws {Error} with `code` */
  write(parts: readonly Uint8Array[]): number | undefined {
    const result = addon().write(this.#descriptor, parts);
    return mustWait(result) ? undefined : checked("writev", result);
  }

  /** Calls once when there is something to read, or an end or error to be seen. */
  whenReadable(callback: () => void): void {
    this.#watch.whenReadable(callback);
  }

  /** Calls once when something can be written, or an error be seen. */
  whenWritable(callback: () => void): void {
    this.#watch.whenWritable(callback);
  }

  /** Ends it; nothing is called any more. May be called twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.close();
    closeSync(this.#descriptor);
  }
}
