import { closeSync } from "node:fs";

/**
 * The descriptors that a client has sent and no command has taken yet. As in QEMU, those that come with a later message
 * replace them, and a command takes the first.
 */
export class DescriptorInbox {
  #descriptors: readonly number[] = [];

  /** Puts what came with a message; nothing changes if nothing came. */
  put(descriptors: readonly number[]): void {
    if (descriptors.length > 0) {
      this.close();
      this.#descriptors = descriptors;
    }
  }

  /** Takes the first descriptor, which is the caller's then; the others are closed. Undefined if there is none. */
  take(): number | undefined {
    const [first, ...others] = this.#descriptors;
    this.#descriptors = others;
    this.close();
    return first;
  }

  /** Closes what nobody has taken. */
  close(): void {
    for (const descriptor of this.#descriptors) closeSync(descriptor);
    this.#descriptors = [];
  }
}
