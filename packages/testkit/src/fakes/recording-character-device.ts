import type { CharacterDevice } from "@cpr/core";

/** The host's side of a character device: it keeps what the guest writes and gives what a test types. */
export class RecordingCharacterDevice implements CharacterDevice {
  readonly output: number[] = [];
  /** What the device has said last; undefined if nothing. */
  listening: boolean | undefined;
  readonly #input: number[] = [];
  #opened = true;
  #writable = true;
  onInput: () => void = () => undefined;
  onOpened: () => void = () => undefined;
  onWritable: () => void = () => undefined;

  get opened(): boolean {
    return this.#opened;
  }

  get writable(): boolean {
    return this.#writable;
  }

  /** Input that the device has not taken yet. */
  get waiting(): number {
    return this.#input.length;
  }

  write(bytes: Uint8Array): void {
    this.output.push(...bytes);
  }

  read(limit: number): Uint8Array {
    return Uint8Array.from(this.#input.splice(0, Math.max(0, limit)));
  }

  setListening(listening: boolean): void {
    this.listening = listening;
  }

  /** All output so far as text, one character for each byte. */
  get text(): string {
    return Buffer.from(this.output).toString("latin1");
  }

  /** Gives input to the device, which is told if there was none before. */
  type(input: string | Uint8Array): void {
    const wasEmpty = this.#input.length === 0;
    this.#input.push(...(typeof input === "string" ? Buffer.from(input) : input));
    if (wasEmpty && this.#input.length > 0) {
      this.onInput();
    }
  }

  /** Somebody comes to the other end, or goes. */
  setOpened(opened: boolean): void {
    this.#opened = opened;
    this.onOpened();
  }

  /** The other end stops to take output, or takes it again. */
  setWritable(writable: boolean): void {
    this.#writable = writable;
    if (writable) this.onWritable();
  }
}
