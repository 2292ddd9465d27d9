import type { MonitorCommand, VirtualMachine } from "@cpr/core";
import { QmpSession, type QmpStreams } from "./qmp-session.ts";

/** QMP for one VM: any number of clients at once, each of which gets all events. */
export class QmpServer {
  readonly #machine: VirtualMachine;
  readonly #commands: readonly MonitorCommand[];
  readonly #sessions = new Set<QmpSession>();

  constructor(machine: VirtualMachine, commands: readonly MonitorCommand[]) {
    this.#machine = machine;
    this.#commands = commands;
    machine.on((event) => {
      for (const session of this.#sessions) session.tell(event);
    });
  }

  /** Begins a conversation with a client. */
  serve(streams: QmpStreams): void {
    const session = new QmpSession({ machine: this.#machine, commands: this.#commands }, streams);
    this.#sessions.add(session);
    void session.done.then(() => this.#sessions.delete(session));
  }

  /** Ends all conversations. Fulfilled when the clients have their last answers and events, or have had time to take them. */
  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
  }
}
