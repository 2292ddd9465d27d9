import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** How a command in the guest ended. */
export interface GuestAnswer {
  readonly output: string;
  readonly status: number;
}

/** A login of a guest's system on one of its consoles, which is a socket of this machine. */
export class SystemConsole {
  readonly #socket: Socket;
  #text = "";
  #position = 0;
  #commands = 0;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.#text += bytes.toString("latin1");
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => this.#wake());
  }

  /** Connects to the socket at `path`, which a process that starts may not have made yet. */
  static async connect(path: string): Promise<SystemConsole> {
    for (let tries = 0; ; tries += 1) {
      const socket = connect(path);
      const failure = await new Promise<Error | undefined>((resolve) => {
        socket.once("connect", () => resolve(undefined));
        socket.once("error", resolve);
      });
      if (failure === undefined) return new SystemConsole(socket);
      if (tries === 200) throw failure;
      await delay(50);
    }
  }

  /** All that the console has said. */
  get text(): string {
    return this.#text;
  }

  /** Types something. */
  type(text: string): void {
    this.#socket.write(text);
  }

  /** Waits until what follows is said, and returns what was said before it. @throws after `seconds`, with the console's end */
  async until(pattern: RegExp, seconds: number): Promise<string> {
    return (await this.#next(pattern, seconds)).before;
  }

  /** Logs in as root, once the console asks who is there, and makes the shell say no more than commands do. */
  async logIn(seconds: number): Promise<void> {
    await this.until(/login: $/, seconds);
    this.type("root\n");
    await this.until(/# /, 120);
    this.type("exec sh\n");
    await this.until(/# /, 60);
    this.type("stty -echo; dmesg -n 1; PS1=; echo ready-$((1+1))\n");
    await this.until(/ready-2\r\n/, 60);
  }

  /** Waits until the shell answers again: what is typed before the guest's serial port is awake is lost. */
  async untilAwake(seconds: number): Promise<void> {
    const deadline = performance.now() + seconds * 1000;
    do {
      this.type("echo awake-$((1+1))\n");
      await delay(1000);
    } while (!/awake-2\r\n/.test(this.#text.slice(this.#position)) && performance.now() < deadline);
    // More than one may have been heard.
    await this.ask("true");
  }

  /** Runs a command in the shell. */
  async run(command: string, seconds = 120): Promise<GuestAnswer> {
    this.#commands += 1;
    const mark = `ended-${this.#commands}`;
    this.type(`${command}\necho ${mark}=$?\n`);
    const { before, found } = await this.#next(new RegExp(`${mark}=(\\d+)\\r\\n`), seconds);
    return { output: before.replaceAll("\r", "").replace(/\n$/, ""), status: Number(found[1]) };
  }

  /** Runs a command that must succeed. @returns what it said */
  async ask(command: string, seconds = 120): Promise<string> {
    const { output, status } = await this.run(command, seconds);
    if (status !== 0) throw new Error(`'${command}' ended with status ${status}: ${output}`);
    return output;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(pattern: RegExp, seconds: number): Promise<{ before: string; found: RegExpExecArray }> {
    const deadline = performance.now() + seconds * 1000;
    for (;;) {
      const rest = this.#text.slice(this.#position);
      const found = pattern.exec(rest);
      if (found !== null) {
        this.#position += found.index + found[0].length;
        return { before: rest.slice(0, found.index), found };
      }
      if (performance.now() > deadline || this.#socket.closed) {
        throw new Error(`The console did not say ${pattern}: ${rest.slice(-4000)}`);
      }
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), delay(500)]);
    }
  }
}
