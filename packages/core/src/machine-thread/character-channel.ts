import type { CharacterDevice } from "../character-device.ts";

/** The machine's end of a character device: output is gathered and sent in batches, input waits until it is taken. */
export class CharacterChannel implements CharacterDevice {
  onInput: () => void = () => undefined;
  readonly #send: (bytes: Uint8Array) => void;
  #output = new Uint8Array(256);
  #length = 0;
  #scheduled = false;
  #input: Uint8Array = new Uint8Array(0);
  #taken = 0;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  write(byte: number): void {
    if (this.#length === this.#output.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#output);
      this.#output = larger;
    }
    this.#output[this.#length++] = byte;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
  }

  read(): number | undefined {
    return this.#taken < this.#input.length ? this.#input[this.#taken++] : undefined;
  }

  /** Sends what has been gathered. */
  flush(): void {
    if (this.#length > 0) {
      this.#send(this.#output.slice(0, this.#length));
      this.#length = 0;
    }
  }

  /** Adds input. */
  push(bytes: Uint8Array): void {
    const left = this.#input.subarray(this.#taken);
    const joined = new Uint8Array(left.length + bytes.length);
    joined.set(left);
    joined.set(bytes, left.length);
    this.#input = joined;
    this.#taken = 0;
    if (left.length === 0 && bytes.length > 0) {
      this.onInput();
    }
  }
}
