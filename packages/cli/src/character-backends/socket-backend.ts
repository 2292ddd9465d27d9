import { connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type CharacterBackend, type CharacterDeviceGuest, systemReason } from "@cpr/core";
import { UnixListener } from "@cpr/monitor";
import { cliErrors } from "../cli-errors.ts";
import type { SocketAddress, SocketOptions } from "./backend-options.ts";

/** How long the last output may take to a client that does not read, when the VM has ended. */
const closingMilliseconds = 1000;

/**
 * A character device on a socket, which one client has at a time: others that connect wait until it has gone. While there is
 * none, the guest's output is dropped, as it is by QEMU.
 */
export class SocketBackend implements CharacterBackend {
  readonly opened = false;
  readonly #options: SocketOptions;
  readonly #waiting: Duplex[] = [];
  readonly #first = Promise.withResolvers<void>();
  /** Fulfilled when the first client is there. */
  readonly firstClient: Promise<void> = this.#first.promise;
  #stopListening: () => void = () => undefined;
  #guest: CharacterDeviceGuest | undefined;
  #client: Duplex | undefined;

  private constructor(options: SocketOptions) {
    this.#options = options;
  }

  /**
   * Listens, or connects.
   *
   * @throws {CprError} if that cannot be
   */
  static async open(options: SocketOptions): Promise<SocketBackend> {
    const backend = new SocketBackend(options);
    const { address, server } = options;
    if (!server) {
      backend.#accept(await connectTo(address));
    } else if (address.kind === "unix") {
      const listener = await UnixListener.listen(address.path);
      listener.serve(({ stream }) => backend.#accept(stream));
      backend.#stopListening = () => listener.close();
    } else {
      backend.#stopListening = await listenAt(address, (stream) => backend.#accept(stream));
    }
    return backend;
  }

  /** QEMU's words for what this is, e.g. `disconnected:unix:/run/vm.sock,server=on`. */
  get filename(): string {
    const { address, server } = this.#options;
    const place = `${describeAddress(address)}${server ? ",server=on" : ""}`;
    if (this.#client === undefined) return `disconnected:${place}`;
    const { remoteAddress, remotePort } = this.#client as Partial<Socket>;
    return remoteAddress === undefined ? place : `${place} <-> ${remoteAddress}:${remotePort}`;
  }

  connect(guest: CharacterDeviceGuest): void {
    this.#guest = guest;
    this.#next();
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    const client = this.#client;
    if (client === undefined || client.write(bytes)) return undefined;
    return new Promise((resolve) => client.once("drain", resolve).once("close", resolve));
  }

  /** Nobody can connect any more; the socket's file is gone. */
  release(): void {
    this.#stopListening();
    this.#stopListening = () => undefined;
    for (const client of this.#waiting.splice(0)) client.destroy();
  }

  async close(): Promise<void> {
    this.release();
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined || client.destroyed) return;
    const closed = new Promise<void>((resolve) => client.once("close", resolve));
    const timer = setTimeout(() => client.destroy(), closingMilliseconds);
    client.resume().end(() => client.destroy());
    await closed;
    clearTimeout(timer);
  }

  #accept(client: Duplex): void {
    // A connection that breaks closes.
    client.on("error", () => undefined);
    this.#waiting.push(client);
    this.#first.resolve();
    this.#next();
  }

  /** Begins with the next client, if the last one has gone. */
  #next(): void {
    const guest = this.#guest;
    if (this.#client !== undefined || guest === undefined) return;
    const client = this.#waiting.shift();
    if (client === undefined) return;
    if (client.destroyed) {
      this.#next();
      return;
    }
    this.#client = client;
    guest.setOpened(true);
    const ended = (): void => {
      if (this.#client !== client) return;
      this.#client = undefined;
      guest.setOpened(false);
      client.destroy();
      this.#next();
    };
    client.on("data", (bytes: Buffer) => {
      client.pause();
      void guest.input(bytes).then(() => client.resume());
    });
    // NOTE: as in QEMU, a client that ends what it sends has gone, whether or not it would still listen.
    client.on("end", ended).on("close", ended);
  }
}

function describeAddress(address: SocketAddress): string {
  return address.kind === "unix" ? `unix:${address.path}` : `tcp:${address.host}:${address.port}`;
}

async function connectTo(address: SocketAddress): Promise<Socket> {
  const socket = connect(address);
  try {
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  } catch (cause) {
    throw cliErrors.ERR_CPR_CHARDEV_CONNECT(
      {
        address: address.kind === "unix" ? address.path : `${address.host}:${address.port}`,
        reason: systemReason(cause),
      },
      { cause },
    );
  }
  return socket.setNoDelay(true);
}

async function listenAt(
  { host, port }: Extract<SocketAddress, { kind: "tcp" }>,
  connected: (client: Socket) => void,
): Promise<() => void> {
  const server = createServer({ noDelay: true }, connected);
  try {
    await new Promise<void>((resolve, reject) =>
      server.once("error", reject).listen({ host: host === "" ? "0.0.0.0" : host, port }, resolve),
    );
  } catch (cause) {
    throw cliErrors.ERR_CPR_CHARDEV_LISTEN({ address: `${host}:${port}`, reason: systemReason(cause) }, { cause });
  }
  // NOTE: a client that cannot be accepted, e.g. because there are no descriptors left, is no reason to end the VM.
  server.removeAllListeners("error").on("error", () => undefined);
  return () => server.close();
}
