import { type CharacterBackend, type CharacterDeviceGuest, systemReason } from "@cpr/core";
import { isAvailable, PseudoTerminal } from "@cpr/native-socket";
import { cliErrors } from "../cli-errors.ts";

/** How often it is looked whether somebody has opened the terminal: the kernel does not tell (as in QEMU). */
const lookMilliseconds = 500;

/** A character device on a new pseudoterminal. While nobody has it open, the guest's output is dropped. */
export class PseudoTerminalBackend implements CharacterBackend {
  readonly opened = false;
  readonly #terminal: PseudoTerminal;
  #guest: CharacterDeviceGuest | undefined;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(terminal: PseudoTerminal) {
    this.#terminal = terminal;
  }

  /** @throws {CprError} ERR_CPR_CHARDEV_TERMINAL */
  static open(): PseudoTerminalBackend {
    try {
      return new PseudoTerminalBackend(PseudoTerminal.open());
    } catch (cause) {
      const reason = isAvailable() ? systemReason(cause) : "the addon for sockets was not compiled";
      throw cliErrors.ERR_CPR_CHARDEV_TERMINAL({ reason }, { cause });
    }
  }

  /** `/dev/pts/N`. */
  get path(): string {
    return this.#terminal.path;
  }

  get filename(): string {
    return `pty:${this.path}`;
  }

  connect(guest: CharacterDeviceGuest): void {
    this.#guest = guest;
    this.#look();
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    const written = this.#terminal.write(bytes);
    if (written === bytes.length) return undefined;
    return new Promise((resolve) => this.#writeLater(bytes.subarray(written), resolve));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#terminal.close();
  }

  #writeLater(bytes: Uint8Array, done: () => void): void {
    this.#terminal.whenWritable(() => {
      const written = this.#terminal.write(bytes);
      if (written === bytes.length) done();
      else this.#writeLater(bytes.subarray(written), done);
    });
  }

  #look(): void {
    if (this.#closed) return;
    if (!this.#terminal.connected) {
      this.#timer = setTimeout(() => this.#look(), lookMilliseconds).unref();
      return;
    }
    this.#guest?.setOpened(true);
    this.#read();
  }

  #read(): void {
    if (this.#closed) return;
    const bytes = this.#terminal.read();
    if (bytes === undefined) {
      this.#guest?.setOpened(false);
      this.#look();
    } else if (bytes.length === 0) {
      this.#terminal.whenReadable(() => this.#read());
    } else {
      void this.#guest?.input(bytes).then(() => this.#read());
    }
  }
}
