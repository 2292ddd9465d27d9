import type { CharacterDevice } from "@cpr/core";

/** The host's side of a character device: it keeps what the guest writes and gives what a test types. */
export class RecordingCharacterDevice implements CharacterDevice {
  readonly output: number[] = [];
  readonly #input: number[] = [];
  onInput: () => void = () => undefined;

  write(byte: number): void {
    this.output.push(byte);
  }

  read(): number | undefined {
    return this.#input.shift();
  }

  /** All output so far as text, one character for each byte. */
  get text(): string {
    return Buffer.from(this.output).toString("latin1");
  }

  /** Input that the device has not taken yet. */
  get waiting(): number {
    return this.#input.length;
  }

  /** Gives input to the device, which is told if there was none before. */
  type(input: string | Uint8Array): void {
    const wasEmpty = this.#input.length === 0;
    this.#input.push(...(typeof input === "string" ? Buffer.from(input) : input));
    if (wasEmpty && this.#input.length > 0) {
      this.onInput();
    }
  }
}
