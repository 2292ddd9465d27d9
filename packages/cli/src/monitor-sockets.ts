import type { MonitorCommand, VirtualMachine } from "@cpr/core";
import { HumanMonitor, MonitorSession, type QmpServer, UnixListener } from "@cpr/monitor";
import type { MonitorSocket } from "./configuration.ts";

/** The sockets at which the monitors of one VM listen. */
export class MonitorSockets {
  readonly #listeners: readonly (readonly [MonitorSocket, UnixListener])[];
  readonly #sessions = new Set<MonitorSession>();

  private constructor(listeners: readonly (readonly [MonitorSocket, UnixListener])[]) {
    this.#listeners = listeners;
  }

  /**
   * Makes the sockets. Clients that come are served later, by {@link serve}.
   *
   * @throws {CprError} if a socket cannot be made; none is left behind then.
   */
  static async open(sockets: readonly MonitorSocket[]): Promise<MonitorSockets> {
    const listeners: [MonitorSocket, UnixListener][] = [];
    try {
      for (const socket of sockets) {
        listeners.push([socket, await UnixListener.listen(socket.path)]);
      }
    } catch (error) {
      for (const [, listener] of listeners) listener.close();
      throw error;
    }
    return new MonitorSockets(listeners);
  }

  /** Waits for clients where that is asked for. */
  async wait(): Promise<void> {
    for (const [{ path, wait }, listener] of this.#listeners) {
      if (wait) {
        process.stderr.write(`cpr: waiting for a connection on unix:${path}\n`);
        await listener.firstClient;
      }
    }
  }

  /** Lets clients talk with the VM. */
  serve(machine: VirtualMachine, commands: readonly MonitorCommand[], qmp: QmpServer): void {
    for (const [{ protocol }, listener] of this.#listeners) {
      listener.serve(({ stream: client, takeDescriptors }) => {
        if (protocol === "qmp") {
          const descriptors = takeDescriptors === undefined ? {} : { takeDescriptors };
          qmp.serve({ input: client, output: client, ...descriptors });
          return;
        }
        // A connection that breaks closes.
        client.on("error", () => undefined);
        const monitor = new HumanMonitor({ machine, commands });
        const session = new MonitorSession(monitor, { input: client, output: client, terminal: false });
        this.#sessions.add(session);
        void session.done.then(() => {
          this.#sessions.delete(session);
          client.end();
        });
      });
    }
  }

  /** Removes the sockets; clients of QMP are the server's. */
  close(): void {
    for (const [, listener] of this.#listeners) listener.close();
    for (const session of this.#sessions) session.close();
  }
}
