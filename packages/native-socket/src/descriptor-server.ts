import { closeSync, unlinkSync } from "node:fs";
import { addon, checked, mustWait, type SocketAddress } from "./addon.ts";
import { DescriptorSocket } from "./descriptor-socket.ts";
import { makeSocket } from "./make-socket.ts";
import { Watch } from "./watch.ts";

const backlog = 511;

/** Listens at an address. */
export class DescriptorServer {
  readonly #address: SocketAddress;
  readonly #descriptor: number;
  readonly #watch: Watch;
  readonly #accepted: (descriptor: number) => void;
  #open = true;

  private constructor(address: SocketAddress, descriptor: number, accepted: (descriptor: number) => void) {
    this.#address = address;
    this.#descriptor = descriptor;
    this.#accepted = accepted;
    this.#watch = new Watch(descriptor);
    this.#watch.whenReadable(() => this.#accept());
  }

  /**
   * Listens; a socket's file is made, and removed at the end.
   *
   * @throws {Error} with `code`
   */
  static listen(address: SocketAddress, connected: (socket: DescriptorSocket) => void): DescriptorServer {
    return DescriptorServer.accept(address, (accepted) => connected(new DescriptorSocket(accepted, true)));
  }

  /** The same for who wants no stream: descriptors of sockets that do not block. */
  static accept(address: SocketAddress, accepted: (descriptor: number) => void): DescriptorServer {
    const descriptor = makeSocket(address);
    try {
      checked("bind", addon().bind(descriptor, ...address));
      checked("listen", addon().listen(descriptor, backlog));
      return new DescriptorServer(address, descriptor, accepted);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Nobody can connect any more. Those that are connected stay. */
  close(): void {
    if (!this.#open) {
      return;
    }
    this.#open = false;
    this.#watch.close();
    closeSync(this.#descriptor);
    const [path, port] = this.#address;
    if (typeof path === "string" && port === undefined) {
      try {
        unlinkSync(path);
      } catch {
        // Somebody has removed it.
      }
    }
  }

  #accept(): void {
    while (this.#open) {
      const result = addon().accept(this.#descriptor);
      if (result >= 0) {
        this.#accepted(result);
      } else if (mustWait(result)) {
        this.#watch.whenReadable(() => this.#accept());
        return;
      } else {
        // NOTE: e.g. there are no descriptors left. Who wants to connect waits; a busy loop would help nobody.
        setTimeout(() => this.#accept(), retryMilliseconds).unref();
        return;
      }
    }
  }
}

const retryMilliseconds = 100;
