import { lstatSync, unlinkSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Duplex } from "node:stream";
import { systemReason } from "@cpr/core";
import { monitorErrors } from "./monitor-errors.ts";

/** A client that has connected. */
export interface UnixClient {
  readonly stream: Duplex;
  /** Takes the descriptors that came with a chunk of a `data` event; absent if none can come. */
  takeDescriptors?(chunk: Buffer): readonly number[];
}

/**
 * A Unix socket that clients connect to. What comes before {@link serve} waits. The socket's file is removed at the
 * end; one that a process left behind which was killed is replaced.
 */
export class UnixListener {
  readonly #early: UnixClient[] = [];
  readonly #first = Promise.withResolvers<void>();
  #serve: ((client: UnixClient) => void) | undefined;
  #close: () => void = () => undefined;
  /** Fulfilled when the first client is there. */
  readonly firstClient: Promise<void> = this.#first.promise;

  private constructor() {}

  /** @throws {CprError} ERR_CPR_MONITOR_LISTEN, ERR_CPR_MONITOR_SOCKET_BUSY */
  static async listen(path: string): Promise<UnixListener> {
    await removeStale(path);
    const listener = new UnixListener();
    try {
      const { DescriptorServer, isAvailable, takeDescriptors } = await import("@cpr/native-socket");
      if (isAvailable()) {
        const server = DescriptorServer.listen([path], (stream) => listener.#accept({ stream, takeDescriptors }));
        listener.#close = () => server.close();
      } else {
        listener.#close = await listenWithoutDescriptors(path, (stream) => listener.#accept({ stream }));
      }
    } catch (cause) {
      throw monitorErrors.ERR_CPR_MONITOR_LISTEN({ path, reason: systemReason(cause) }, { cause });
    }
    return listener;
  }

  /** Hands over all clients, those that came before too. */
  serve(serve: (client: UnixClient) => void): void {
    this.#serve = serve;
    for (const client of this.#early.splice(0)) serve(client);
  }

  /** No client can connect any more; the socket's file is gone. Those that are connected stay. */
  close(): void {
    this.#close();
    for (const { stream } of this.#early.splice(0)) stream.destroy();
  }

  #accept(client: UnixClient): void {
    this.#first.resolve();
    if (this.#serve === undefined) this.#early.push(client);
    else this.#serve(client);
  }
}

/** Listens with Node's own sockets, which drop descriptors; gives what ends it. */
export async function listenWithoutDescriptors(path: string, connected: (stream: Duplex) => void): Promise<() => void> {
  const server = createServer({ allowHalfOpen: true }, connected);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(path, resolve);
  });
  // NOTE: a client that cannot be accepted, e.g. because there are no descriptors left, is no reason to end the VM.
  server.removeAllListeners("error").on("error", () => undefined);
  return () => server.close();
}

/** Removes a socket that nobody listens at. @throws {CprError} ERR_CPR_MONITOR_SOCKET_BUSY if somebody does. */
async function removeStale(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) {
    return;
  }
  const listening = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      resolve(true);
      probe.destroy();
    });
    // Any other failure, e.g. that a queue is full, comes from somebody who is there.
    probe.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED" && code !== "ENOENT"));
  });
  if (listening) {
    throw monitorErrors.ERR_CPR_MONITOR_SOCKET_BUSY({ path });
  }
  try {
    unlinkSync(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") {
      throw monitorErrors.ERR_CPR_MONITOR_LISTEN({ path, reason: systemReason(cause) }, { cause });
    }
  }
}
