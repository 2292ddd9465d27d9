import { PassThrough } from "node:stream";
import type { ReadStream } from "node:tty";

/** What the keys typed at the terminal go to. */
type Focus = "console" | "monitor";

const escapeKey = 0x01; // Ctrl-a

/** What Ctrl-a and a letter do. */
export interface MultiplexerActions {
  /** Keys for the guest. */
  toConsole(bytes: Uint8Array): void;
  /** Ctrl-a x. */
  quit(): void;
  /** Ctrl-a c: the terminal now belongs to this side. */
  focus(side: Focus): void;
  /** Text for the person. */
  show(text: string): void;
}

const help = [
  "",
  "Ctrl-a h  this help",
  "Ctrl-a x  quit",
  "Ctrl-a c  switch between the guest's console and the monitor",
  "Ctrl-a Ctrl-a  send Ctrl-a to the guest",
  "",
].join("\r\n");

/** Shares one terminal between the guest's console and the monitor, with QEMU's keys. */
export class ConsoleMultiplexer {
  /** Keys for the monitor. */
  readonly monitorInput = new PassThrough();
  readonly #actions: MultiplexerActions;
  #focus: Focus = "console";
  #escaped = false;

  constructor(actions: MultiplexerActions) {
    this.#actions = actions;
  }

  /** Takes over a terminal: keys arrive one by one, none is interpreted by the kernel's line discipline. */
  attach(terminal: ReadStream): void {
    terminal.setRawMode(true);
    terminal.on("data", (bytes: Buffer) => this.type(bytes));
  }

  /** Takes keys as they are typed. */
  type(bytes: Uint8Array): void {
    let plain: number[] = [];
    const send = (): void => {
      if (plain.length > 0) {
        const sent = Uint8Array.from(plain);
        if (this.#focus === "console") this.#actions.toConsole(sent);
        else this.monitorInput.write(sent);
        plain = [];
      }
    };
    for (const byte of bytes) {
      if (!this.#escaped) {
        if (byte === escapeKey) this.#escaped = true;
        else plain.push(byte);
        continue;
      }
      this.#escaped = false;
      if (byte === escapeKey) {
        plain.push(escapeKey);
        continue;
      }
      send();
      this.#command(String.fromCharCode(byte));
    }
    send();
  }

  #command(letter: string): void {
    switch (letter) {
      case "c":
        this.#focus = this.#focus === "console" ? "monitor" : "console";
        this.#actions.focus(this.#focus);
        break;
      case "x":
        this.#actions.quit();
        break;
      case "h":
      case "?":
        this.#actions.show(help);
        break;
      default:
        break;
    }
  }
}
