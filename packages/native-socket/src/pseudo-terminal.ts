import { closeSync, readSync, writeSync } from "node:fs";
import { addon, checked } from "./addon.ts";
import { Watch } from "./watch.ts";

/** How many bytes are read at once. */
const chunkSize = 4096;

/**
 * A new pseudoterminal (pty(7)), as the program sees it that is behind the terminal. Others open {@link path} and close it
 * again, as often as they like.
 */
export class PseudoTerminal {
  /** `/dev/pts/N`. */
  readonly path: string;
  readonly #descriptor: number;
  readonly #watch: Watch;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.path = `/dev/pts/${checked("ioctl", addon().terminalNumber(descriptor))}`;
    this.#watch = new Watch(descriptor);
  }

  /** @throws {Error} with `code` */
  static open(): PseudoTerminal {
    const descriptor = checked("openpt", addon().openTerminal());
    try {
      return new PseudoTerminal(descriptor);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Somebody has the terminal open. */
  get connected(): boolean {
    return checked("poll", addon().hungUp(this.#descriptor)) === 0;
  }

  /** Takes what was typed, which may be nothing yet; undefined when nobody has the terminal open any more. */
  read(): Uint8Array | undefined {
    const buffer = new Uint8Array(chunkSize);
    const count = this.#transfer(() => readSync(this.#descriptor, buffer));
    return count === undefined ? undefined : buffer.subarray(0, count);
  }

  /** Shows as much as there is room for; gives how many bytes. What nobody is there to see is lost. */
  write(bytes: Uint8Array): number {
    // NOTE: the kernel keeps a few KiB for whoever comes next, and then has no room for ever.
    if (!this.connected) return bytes.length;
    return this.#transfer(() => writeSync(this.#descriptor, bytes)) ?? bytes.length;
  }

  /** Calls once when {@link read} has something to tell. */
  whenReadable(callback: () => void): void {
    this.#watch.whenReadable(callback);
  }

  /** Calls once when there is room, or nobody there. */
  whenWritable(callback: () => void): void {
    this.#watch.whenWritable(callback);
  }

  /** The terminal is gone for everybody. */
  close(): void {
    this.#watch.close();
    closeSync(this.#descriptor);
  }

  /** Gives 0 where it would have to wait, undefined where nobody is there. */
  #transfer(transfer: () => number): number | undefined {
    try {
      return transfer();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") return 0;
      if (code === "EIO") return undefined;
      throw error;
    }
  }
}
