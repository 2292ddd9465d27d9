import { lstatSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { monitorErrors } from "./monitor-errors.ts";

/** What the C library says for the error codes that users meet. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  EADDRINUSE: "Address already in use",
  ECONNREFUSED: "Connection refused",
  EINVAL: "Invalid argument",
  ENOENT: "No such file or directory",
  ENOTDIR: "Not a directory",
  ENOTSOCK: "Socket operation on non-socket",
};

/** Why a socket operation failed, as people know it. */
export function reasonOf(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  return reasons[code] ?? (cause instanceof Error ? cause.message : String(cause));
}

/**
 * A Unix socket that clients connect to. What comes before {@link serve} waits. The socket's file is removed at the
 * end; one that a process left behind which was killed is replaced.
 */
export class UnixListener {
  readonly #server: Server;
  readonly #early: Socket[] = [];
  #serve: ((client: Socket) => void) | undefined;
  /** Fulfilled when the first client is there. */
  readonly firstClient: Promise<void>;

  private constructor(server: Server) {
    this.#server = server;
    this.firstClient = new Promise((resolve) => {
      server.on("connection", (client) => {
        resolve();
        if (this.#serve === undefined) this.#early.push(client);
        else this.#serve(client);
      });
    });
  }

  /** @throws {CprError} ERR_CPR_MONITOR_LISTEN, ERR_CPR_MONITOR_SOCKET_BUSY */
  static async listen(path: string): Promise<UnixListener> {
    await removeStale(path);
    const server = createServer({ allowHalfOpen: true });
    const listener = new UnixListener(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        reject(monitorErrors.ERR_CPR_MONITOR_LISTEN({ path, reason: reasonOf(cause) }, { cause }));
      });
      server.listen(path, resolve);
    });
    // NOTE: a client that cannot be accepted, e.g. because there are no descriptors left, is no reason to end the VM.
    server.removeAllListeners("error").on("error", () => undefined);
    return listener;
  }

  /** Hands over all clients, those that came before too. */
  serve(serve: (client: Socket) => void): void {
    this.#serve = serve;
    for (const client of this.#early.splice(0)) serve(client);
  }

  /** No client can connect any more; the socket's file is gone. Those that are connected stay. */
  close(): void {
    this.#server.close();
    for (const client of this.#early.splice(0)) client.destroy();
  }
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
      throw monitorErrors.ERR_CPR_MONITOR_LISTEN({ path, reason: reasonOf(cause) }, { cause });
    }
  }
}
