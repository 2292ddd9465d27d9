import type { MachineControl } from "../machine-thread/machine-control.ts";
import type { CharacterBackend, CharacterDeviceGuest } from "../virtual-machine-configuration.ts";

/** Bytes of output that are told together to have been taken. */
const takenAtOnce = 16 * 1024;

/** A character device of a VM, between the host's end and the machine. */
export class CharacterConnection implements CharacterDeviceGuest {
  readonly id: string;
  readonly #backend: CharacterBackend;
  readonly #control: MachineControl;
  #listening = true;
  #taken = 0;

  constructor(id: string, backend: CharacterBackend, control: MachineControl) {
    this.id = id;
    this.#backend = backend;
    this.#control = control;
    backend.connect?.(this);
  }

  /** See {@link CharacterBackend.filename}. */
  get filename(): string {
    return this.#backend.filename;
  }

  /** The guest listens. */
  get listening(): boolean {
    return this.#listening;
  }

  setListening(listening: boolean): void {
    this.#listening = listening;
  }

  /** Hands the guest's output on. */
  output(bytes: Uint8Array): void {
    const { length } = bytes;
    const room = this.#backend.write(bytes);
    if (room === undefined) this.#outputTaken(length);
    else void room.then(() => this.#outputTaken(length));
  }

  async input(bytes: Uint8Array): Promise<void> {
    // Input for a VM that ends meanwhile is lost, as keys pressed at a machine that is being switched off are.
    await this.#control.input(this.id, bytes).catch(() => undefined);
  }

  setOpened(opened: boolean): void {
    this.#control.setOpened(this.id, opened).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.#backend.close?.();
  }

  #outputTaken(length: number): void {
    this.#taken += length;
    if (this.#taken >= takenAtOnce) {
      this.#control.outputTaken(this.id, this.#taken).catch(() => undefined);
      this.#taken = 0;
    }
  }
}
