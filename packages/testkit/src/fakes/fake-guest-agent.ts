import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** What a guest's agent is told. */
export interface AgentCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/**
 * The host's end of the channel to a guest's agent, with an agent behind it that does what a test says. It synchronizes unless it is
 * silent, and answers a suspension only with an error, as QEMU's agent does. A delimiter is an error, too.
 */
export class FakeGuestAgent {
  /** It hears everything and says nothing. */
  silent = false;
  /** What it says before it synchronizes: left of an earlier conversation. */
  leftovers = "";
  /** What it refuses a suspension with, as class and description. */
  refusal: readonly [name: string, description: string] | undefined;
  /** Called when it is told to suspend the guest and does not refuse. */
  onSuspend: () => void = () => undefined;
  /** The commands that it was told. */
  readonly commands: AgentCommand[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      let text = "";
      socket.on("data", (bytes: Buffer) => {
        const lines = (text + bytes.toString("latin1")).split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) {
          const start = line.lastIndexOf("\u00ff") + 1;
          // What stands before the delimiter is forgotten.
          if (start > 0 && !this.silent) refuse(socket, "GenericError", "JSON parse error, stray '\\xff'");
          this.#take(socket, JSON.parse(line.slice(start)) as AgentCommand);
        }
      });
    });
  }

  static async listen(path: string): Promise<FakeGuestAgent> {
    const server = createServer();
    await once(server.listen(path), "listening");
    return new FakeGuestAgent(server);
  }

  /** Ends all connections. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.hangUp();
    this.#server.close();
  }

  #take(socket: Socket, command: AgentCommand): void {
    this.commands.push(command);
    if (this.silent) return;
    if (command.execute === "guest-sync-delimited") {
      socket.write(this.leftovers);
      socket.write(Uint8Array.of(0xff));
      socket.write(`${JSON.stringify({ return: command.arguments?.["id"] })}\n`);
    } else if (this.refusal !== undefined) {
      refuse(socket, ...this.refusal);
    } else {
      this.onSuspend();
    }
  }
}

function refuse(socket: Socket, name: string, description: string): void {
  socket.write(`${JSON.stringify({ error: { class: name, desc: description } })}\n`);
}
