import type { CharacterBackend } from "@cpr/core";
import type { CharacterBackendOptions } from "./backend-options.ts";
import type { SocketBackend } from "./socket-backend.ts";
import { fileBackend, nullBackend, standardBackend } from "./stream-backends.ts";

/** The host's ends of the character devices of one VM. */
export class CharacterBackends {
  /** By id. Each is closed by the VM that it is given to. */
  readonly devices = new Map<string, CharacterBackend>();
  readonly #sockets: { readonly socket: SocketBackend; readonly wait: boolean }[] = [];

  /**
   * Opens them.
   *
   * @throws {CprError} if one cannot be; none is left open then.
   */
  static async open(wanted: ReadonlyMap<string, CharacterBackendOptions>): Promise<CharacterBackends> {
    const backends = new CharacterBackends();
    try {
      for (const [id, options] of wanted) {
        backends.devices.set(id, await backends.#open(id, options));
      }
    } catch (error) {
      for (const backend of backends.devices.values()) await backend.close?.();
      throw error;
    }
    return backends;
  }

  /** Waits for clients where that is asked for. */
  async wait(): Promise<void> {
    for (const { socket, wait } of this.#sockets) {
      if (wait) {
        process.stderr.write(`cpr: waiting for connection on: ${socket.filename}\n`);
        await socket.firstClient;
      }
    }
  }

  /** Removes what others could connect to, for a process that ends without the VM. */
  release(): void {
    for (const { socket } of this.#sockets) socket.release();
  }

  async #open(id: string, options: CharacterBackendOptions): Promise<CharacterBackend> {
    switch (options.kind) {
      case "file":
        return fileBackend(options.path, options.append);
      case "stdio":
        return standardBackend;
      case "null":
        return nullBackend;
      case "pty": {
        // Not needed by most, and the start should be short; the same below.
        const { PseudoTerminalBackend } = await import("./pseudo-terminal-backend.ts");
        const backend = PseudoTerminalBackend.open();
        process.stderr.write(`char device redirected to ${backend.path} (label ${id})\n`);
        return backend;
      }
      case "socket": {
        const { SocketBackend } = await import("./socket-backend.ts");
        const socket = await SocketBackend.open(options);
        this.#sockets.push({ socket, wait: options.wait });
        return socket;
      }
    }
  }
}
