import type { CharacterDevice } from "../character-device.ts";

/** Bytes of output that may be on their way to the host before the device is to wait. */
const outputLimit = 256 * 1024;
/** Bytes of output beyond which more is lost, where a device does not wait. */
const outputBound = 4 * outputLimit;
/** Bytes of input that may wait for the guest before the host is to wait. */
const inputLimit = 64 * 1024;

/** Where a {@link CharacterChannel} leads. */
export interface CharacterChannelOptions {
  /** Somebody is at the other end. */
  readonly opened: boolean;
  /** Takes output; {@link CharacterChannel.outputTaken} is called when the host has it. The buffer is the receiver's. */
  send(bytes: Uint8Array): void;
  /** The guest listens, or does not any more. */
  listening(listening: boolean): void;
}

/** The machine's end of a character device: output is gathered and sent in batches, input waits until it is taken. */
export class CharacterChannel implements CharacterDevice {
  onInput: () => void = () => undefined;
  onOpened: () => void = () => undefined;
  onWritable: () => void = () => undefined;
  readonly #options: CharacterChannelOptions;
  #opened: boolean;
  /** The other end is gone, and what it sent is not all read yet. */
  #ending = false;
  #listening = true;
  #output = new Uint8Array(256);
  #length = 0;
  /** Bytes that were sent and not taken. */
  #sent = 0;
  #full = false;
  #scheduled = false;
  #input: Uint8Array[] = [];
  #waiting = 0;
  /** Who has input and waits until there is room for more. */
  #roomWanted: (() => void)[] = [];

  constructor(options: CharacterChannelOptions) {
    this.#options = options;
    this.#opened = options.opened;
  }

  get opened(): boolean {
    return this.#opened;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get writable(): boolean {
    return !this.#full;
  }

  write(bytes: Uint8Array): void {
    const room = outputBound - this.#sent - this.#length;
    const taken = bytes.length > room ? bytes.subarray(0, room) : bytes;
    const needed = this.#length + taken.length;
    if (needed > this.#output.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#output.length));
      larger.set(this.#output.subarray(0, this.#length));
      this.#output = larger;
    }
    this.#output.set(taken, this.#length);
    this.#length = needed;
    this.#full ||= this.#sent + this.#length >= outputLimit;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
  }

  read(limit: number): Uint8Array {
    const [first] = this.#input;
    if (first === undefined || limit <= 0) {
      return new Uint8Array(0);
    }
    const bytes = first.subarray(0, limit);
    if (bytes.length === first.length) this.#input.shift();
    else this.#input[0] = first.subarray(limit);
    this.#waiting -= bytes.length;
    if (this.#waiting < inputLimit) {
      for (const tell of this.#roomWanted.splice(0)) tell();
    }
    if (this.#waiting === 0 && this.#ending) {
      // NOTE: not now: the device is in the middle of taking what it has just been given.
      setImmediate(() => this.#end());
    }
    return bytes;
  }

  setListening(listening: boolean): void {
    if (listening !== this.#listening) {
      this.#listening = listening;
      this.#options.listening(listening);
    }
  }

  /** Sends what has been gathered. */
  flush(): void {
    if (this.#length > 0) {
      this.#sent += this.#length;
      this.#options.send(this.#output.slice(0, this.#length));
      this.#length = 0;
    }
  }

  /** The host has taken output that was sent. */
  outputTaken(length: number): void {
    this.#sent -= length;
    if (this.#full && this.#sent + this.#length < outputLimit / 2) {
      this.#full = false;
      this.onWritable();
    }
  }

  /** Adds input; fulfilled when there is room for more. */
  async push(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) {
      return;
    }
    this.#input.push(bytes);
    this.#waiting += bytes.length;
    if (this.#waiting === bytes.length) {
      this.onInput();
    }
    if (this.#waiting >= inputLimit) {
      await new Promise<void>((resolve) => this.#roomWanted.push(resolve));
    }
  }

  /** Somebody is at the other end now, or not any more. */
  setOpened(opened: boolean): void {
    this.#ending = !opened;
    if (opened) {
      this.#changeOpened(true);
    } else {
      this.#end();
    }
  }

  #end(): void {
    if (this.#ending && this.#waiting === 0) {
      this.#ending = false;
      this.#changeOpened(false);
    }
  }

  #changeOpened(opened: boolean): void {
    if (opened !== this.#opened) {
      this.#opened = opened;
      this.onOpened();
    }
  }
}
