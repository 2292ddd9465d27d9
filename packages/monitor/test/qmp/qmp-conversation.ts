import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Constructor, ExtensionPoint, MonitorCommand } from "@cpr/core";
import { FakeVirtualMachine } from "@cpr/testkit/fakes";
import { onTestFinished } from "vitest";
import plugin from "../../src/plugin.ts";
import { JsonScanner } from "../../src/qmp/json-scanner.ts";
import { QmpServer } from "../../src/qmp/qmp-server.ts";
import { UnixListener } from "../../src/unix-listener.ts";

/** All commands that the plugin contributes. */
export function contributedCommands(): MonitorCommand[] {
  const commands: MonitorCommand[] = [];
  plugin.setup({
    contribute: <T>(_point: ExtensionPoint<T>, command: Constructor<NoInfer<T>>) => {
      commands.push(new (command as unknown as Constructor<MonitorCommand>)());
    },
  });
  return commands;
}

/** A message of a server. */
export type Message = Readonly<Record<string, unknown>>;

/** A client that sends bytes and reads messages, and knows nothing else. */
export class RawClient {
  readonly socket: Socket;
  readonly #messages: Message[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  constructor(path: string) {
    const scanner = new JsonScanner();
    this.socket = connect(path);
    this.socket.on("data", (bytes: Buffer) => {
      for (const message of scanner.scan(bytes)) {
        if ("error" in message) throw new Error(message.error);
        this.#messages.push(JSON.parse(message.text) as Message);
      }
      this.#wake();
    });
    this.socket
      .on("error", () => undefined)
      .on("close", () => {
        this.#ended = true;
        this.#wake();
      });
    onTestFinished(() => void this.socket.destroy());
  }

  send(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** The next message; undefined at the end. */
  async next(): Promise<Message | undefined> {
    while (this.#messages.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#messages.shift();
  }

  /** Sends something and gives the next message. */
  async ask(text: string | Uint8Array): Promise<Message | undefined> {
    this.send(text);
    return this.next();
  }

  /** The text of the error that is the answer, and its class. */
  async refusal(text: string | Uint8Array): Promise<string> {
    const { error } = (await this.ask(text)) as { error?: { class: string; desc: string } };
    return `${error?.class}: ${error?.desc}`;
  }

  /** Takes the greeting and negotiates. */
  async negotiate(): Promise<void> {
    await this.next();
    await this.ask('{"execute":"qmp_capabilities"}');
  }
}

/** A fake VM with a QMP server on a socket in a fresh folder. */
export async function qmpFixture(more: readonly MonitorCommand[] = []) {
  const folder = mkdtempSync(join(tmpdir(), "cpr-qmp-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "qmp.sock");
  const machine = new FakeVirtualMachine();
  const server = new QmpServer(machine, [...contributedCommands(), ...more]);
  const listener = await UnixListener.listen(path);
  listener.serve(({ stream, ...more }) => server.serve({ input: stream, output: stream, ...more }));
  onTestFinished(() => listener.close());
  return { folder, path, machine, server, listener, client: () => new RawClient(path) };
}
