import type { CharacterDevice } from "@cpr/core";
import type { DescriptorChain, Virtqueue } from "../virtio/virtqueue.ts";
import { controlEvent, messageSize } from "./registers.ts";
import { type PortState, pendingMessage } from "./state.ts";

/** Bytes of output that are handed to the host at once. */
const outputPiece = 64 * 1024;

/** What a port is made from. */
export interface SerialPortOptions {
  readonly number: number;
  /** The guest shall use it as a console, e.g. hvc0. */
  readonly console: boolean;
  /** By which programs in the guest find it; empty if it has none. */
  readonly name: string;
  readonly host: CharacterDevice;
  /** A control message waits to be sent. */
  messageWaits(): void;
}

/** The queues of a port, and what the driver has agreed to. */
export interface PortConnection {
  readonly input: Virtqueue;
  readonly output: Virtqueue;
  /** VIRTIO_CONSOLE_F_MULTIPORT: the guest opens and closes ports. */
  readonly multiport: boolean;
}

/**
 * One port of a virtio serial device (virtio 1.2 §5.3.6) between its two queues and a character device. Input waits with
 * the host while the guest has the port closed. Output to nobody is dropped, as by QEMU; what the host does not take yet
 * stays in its queue, except that of a console, for which a guest waits in a loop.
 */
export class SerialPort {
  readonly number: number;
  readonly console: boolean;
  readonly name: string;
  readonly #host: CharacterDevice;
  readonly #messageWaits: () => void;
  #connection: PortConnection | undefined;
  #running = false;
  #ready = false;
  #guestOpen = false;
  #hostOpen: boolean;
  #pending = 0;
  #sent = 0;

  constructor({ number, console, name, host, messageWaits }: SerialPortOptions) {
    this.number = number;
    this.console = console;
    this.name = name;
    this.#host = host;
    this.#messageWaits = messageWaits;
    this.#hostOpen = this.#hostIsOpen;
    host.setListening(false);
    host.onInput = () => this.receive();
    host.onWritable = () => this.transmit();
    host.onOpened = () => this.#hostChanged();
  }

  /** The driver is there. */
  connect(connection: PortConnection): void {
    this.#connection = connection;
    this.#host.setListening(this.#guestListens);
  }

  /** The driver has gone, with all that it said. */
  reset(): void {
    this.#connection = undefined;
    this.#ready = false;
    this.#guestOpen = false;
    this.#hostOpen = this.#hostIsOpen;
    this.#pending = 0;
    this.#sent = 0;
    this.#host.setListening(false);
  }

  pause(): void {
    this.#running = false;
  }

  resume(): void {
    this.#running = true;
    this.#hostChanged();
    this.receive();
    this.transmit();
  }

  /** The guest asks which ports there are. */
  announce(): void {
    this.#pending |= pendingMessage.add;
  }

  /** The guest says something about the port (virtio 1.2 §5.3.6.2). */
  control(event: number, value: number): void {
    if (event === controlEvent.portReady && value !== 0) {
      this.#ready = true;
      this.#pending |=
        (this.console ? pendingMessage.console : 0) |
        (this.name === "" ? 0 : pendingMessage.name) |
        (this.#hostOpen ? pendingMessage.open : 0);
    } else if (event === controlEvent.portOpen) {
      this.#guestOpen = value !== 0;
      this.#host.setListening(this.#guestListens);
      this.receive();
    }
  }

  /** The control message that is to be sent next; it waits until {@link messageSent}. */
  nextMessage(): Uint8Array | undefined {
    switch (this.#nextPending) {
      case pendingMessage.add:
        return this.#message(controlEvent.portAdd, 1);
      case pendingMessage.console:
        return this.#message(controlEvent.consolePort, 1);
      case pendingMessage.name:
        return this.#message(controlEvent.portName, 1, this.name);
      case pendingMessage.open:
        return this.#message(controlEvent.portOpen, this.#hostOpen ? 1 : 0);
      default:
        return undefined;
    }
  }

  messageSent(): void {
    this.#pending &= ~this.#nextPending;
  }

  /** Gives the guest what the host has sent, where it has buffers for it. */
  receive(): void {
    const input = this.#connection?.input;
    if (input === undefined || !this.#running || !this.#guestListens) return;
    while (this.#host.waiting > 0) {
      const chain = input.pop() ?? (input.hasAvailable() ? input.pop() : undefined);
      if (chain === undefined) break;
      input.push(chain, this.#fill(chain));
    }
    input.tell();
  }

  /** Gives the host what the guest has sent, as far as it takes it. A guest that sends without end is served in parts. */
  transmit(): void {
    const output = this.#connection?.output;
    if (output === undefined || !this.#running) return;
    let left = output.size;
    do {
      for (let chain = output.pop(); chain !== undefined; chain = output.pop()) {
        if (!this.#send(chain)) {
          output.unpop();
          output.tell();
          return;
        }
        this.#sent = 0;
        output.push(chain, 0);
        left -= 1;
        if (left === 0) {
          output.tell();
          setImmediate(() => this.transmit());
          return;
        }
      }
    } while (output.hasAvailable());
    output.tell();
  }

  save(): PortState {
    return {
      present: true,
      console: this.console,
      ready: this.#ready,
      guestOpen: this.#guestOpen,
      hostOpen: this.#hostOpen,
      pending: this.#pending,
      sent: BigInt(this.#sent),
    };
  }

  /** Why a state cannot be taken, or undefined if {@link restore} takes it. */
  problemOf(state: PortState): string | undefined {
    if (state.console !== this.console) return `port ${this.number} is ${this.console ? "a" : "no"} console`;
    const messages = pendingMessage.add | pendingMessage.console | pendingMessage.name | pendingMessage.open;
    if ((state.pending & ~messages) !== 0) return `port ${this.number} has unknown messages`;
    if (state.sent > BigInt(Number.MAX_SAFE_INTEGER)) return `port ${this.number} has sent too much`;
    return undefined;
  }

  restore(state: PortState): void {
    this.#ready = state.ready;
    this.#guestOpen = state.guestOpen;
    this.#hostOpen = state.hostOpen;
    this.#pending = state.pending;
    this.#sent = Number(state.sent);
    this.#host.setListening(this.#guestListens);
  }

  /** Somebody is at the host's end; of a console the guest always thinks so. */
  get #hostIsOpen(): boolean {
    return this.console || this.#host.opened;
  }

  get #guestListens(): boolean {
    return this.#connection !== undefined && (!this.#connection.multiport || this.#guestOpen);
  }

  get #nextPending(): number {
    return this.#pending & -this.#pending;
  }

  #hostChanged(): void {
    if (!this.#running || this.#hostIsOpen === this.#hostOpen) return;
    this.#hostOpen = this.#hostIsOpen;
    if (this.#ready) {
      this.#pending |= pendingMessage.open;
      this.#messageWaits();
    }
    // What waits for nobody is dropped.
    this.transmit();
  }

  #fill({ writable }: DescriptorChain): number {
    let filled = 0;
    for (const buffer of writable) {
      let at = 0;
      while (at < buffer.length && this.#host.waiting > 0) {
        const bytes = this.#host.read(buffer.length - at);
        buffer.set(bytes, at);
        at += bytes.length;
      }
      filled += at;
    }
    return filled;
  }

  /** Hands a chain to the host. @returns whether all of it was taken */
  #send({ readable }: DescriptorChain): boolean {
    if (!this.#hostIsOpen) return true;
    let start = 0;
    for (const buffer of readable) {
      while (this.#sent < start + buffer.length) {
        if (!this.#host.writable && !this.console) return false;
        const at = this.#sent - start;
        const piece = buffer.subarray(at, at + outputPiece);
        this.#host.write(piece);
        this.#sent += piece.length;
      }
      start += buffer.length;
    }
    return true;
  }

  #message(event: number, value: number, text = ""): Uint8Array {
    const name = new TextEncoder().encode(text);
    const message = new Uint8Array(messageSize + name.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, this.number, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    message.set(name, messageSize);
    return message;
  }
}
