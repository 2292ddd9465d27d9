import type { CharacterDevice } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import type { VirtioCheckpoint, VirtioDevice, VirtioDriver } from "../virtio/virtio-device.ts";
import type { DescriptorChain } from "../virtio/virtqueue.ts";
import {
  configuration,
  consoleDevice,
  controlEvent,
  controlQueue,
  feature,
  inputQueue,
  messageSize,
} from "./registers.ts";
import { SerialPort } from "./serial-port.ts";
import { type PortState, serialState } from "./state.ts";

/** The bus into which ports are plugged. */
export interface VirtioSerialBus {
  /**
   * Makes a port.
   *
   * @param wanted its number; one that is free if undefined. 0 is kept for a console.
   * @throws {CprError} ERR_CPR_SERIAL_PORT
   */
  plug(options: {
    readonly id: string;
    readonly wanted: number | undefined;
    readonly console: boolean;
    readonly name: string;
    readonly host: CharacterDevice;
  }): void;
}

const queueSize = 128;

/** A virtio serial device: a console, and ports for programs in the guest (virtio 1.2 §5.3). */
export class VirtioSerial implements VirtioDevice, VirtioSerialBus {
  readonly deviceId = consoleDevice;
  readonly queueSizes: readonly number[];
  readonly features = feature.multiport;
  readonly configuration = new Uint8Array(configuration.size);
  readonly checkpoint: VirtioCheckpoint;
  readonly buses: Readonly<Record<string, VirtioSerialBus>> = { "virtio-serial": this };
  readonly #id: string;
  readonly #ports: (SerialPort | undefined)[];
  #driver: VirtioDriver | undefined;
  #running = false;

  constructor(id: string, maximumPorts: number) {
    this.#id = id;
    this.#ports = Array.from({ length: maximumPorts }, () => undefined);
    // Two queues for each port, and two for control.
    this.queueSizes = Array.from({ length: 2 * (maximumPorts + 1) }, () => queueSize);
    new DataView(this.configuration.buffer).setUint32(configuration.maximumPorts, maximumPorts, true);
    this.checkpoint = {
      kind: "state",
      schema: serialState(maximumPorts),
      save: () => ({ ports: this.#ports.map((port) => port?.save() ?? noPort) }),
      restore: (state) => this.#restore(state["ports"] as readonly PortState[]),
    };
  }

  plug({ id, wanted, console, name, host }: Parameters<VirtioSerialBus["plug"]>[0]): void {
    const number = wanted ?? this.#ports.findIndex((port, index) => port === undefined && (console || index > 0));
    const problem =
      number < 0
        ? "Out-of-range port id specified, max. allowed: 0"
        : number >= this.#ports.length
          ? `Out-of-range port id specified, max. allowed: ${this.#ports.length - 1}`
          : number === 0 && !console
            ? "Port number 0 on virtio-serial devices reserved for virtconsole devices for backward compatibility."
            : this.#ports[number] !== undefined
              ? `virtio-serial-bus: A port already exists at id ${number}`
              : name !== "" && this.#ports.some((port) => port?.name === name)
                ? `virtio-serial-bus: A port already exists by name ${name}`
                : undefined;
    if (problem !== undefined) throw deviceErrors.ERR_CPR_SERIAL_PORT({ device: id, problem });
    this.#ports[number] = new SerialPort({ number, console, name, host, messageWaits: () => this.#sendMessages() });
  }

  start(driver: VirtioDriver): void {
    this.#driver = driver;
    const multiport = (driver.features & feature.multiport) !== 0n;
    for (const port of this.#present) {
      // Without control queues there is one port only.
      if (!multiport && port.number > 0) continue;
      const index = inputQueue(port.number);
      const [input, output] = driver.queues.slice(index, index + 2);
      if (input !== undefined && output !== undefined) port.connect({ input, output, multiport });
    }
  }

  notify(queue: number): void {
    if (queue === controlQueue.input) {
      this.#sendMessages();
    } else if (queue === controlQueue.output) {
      this.#driver?.queues[queue]?.process((chain) => this.#receiveMessage(chain));
      this.#sendMessages();
    } else {
      const port = this.#ports[queue < controlQueue.input ? 0 : (queue - controlQueue.input) >> 1];
      if (queue % 2 === 0) port?.receive();
      else port?.transmit();
    }
  }

  reset(): void {
    this.#driver = undefined;
    for (const port of this.#present) port.reset();
  }

  async pause(): Promise<void> {
    this.#running = false;
    for (const port of this.#present) port.pause();
  }

  close(): void {
    for (const port of this.#present) port.pause();
  }

  resume(): void {
    this.#running = true;
    for (const port of this.#present) port.resume();
    this.#sendMessages();
  }

  get #present(): readonly SerialPort[] {
    return this.#ports.filter((port) => port !== undefined);
  }

  /** Takes a message of the driver (virtio 1.2 §5.3.6.2). One that makes no sense has no effect. */
  #receiveMessage(chain: DescriptorChain): void {
    const message = new Uint8Array(messageSize);
    const length = chain.readable.reduce((at, bytes) => {
      message.set(bytes.subarray(0, messageSize - at), at);
      return Math.min(messageSize, at + bytes.length);
    }, 0);
    this.#driver?.queues[controlQueue.output]?.push(chain, 0);
    if (length < messageSize) return;
    const view = new DataView(message.buffer);
    const event = view.getUint16(4, true);
    const value = view.getUint16(6, true);
    if (event === controlEvent.deviceReady) {
      if (value !== 0) for (const port of this.#present) port.announce();
    } else {
      this.#ports[view.getUint32(0, true)]?.control(event, value);
    }
  }

  #sendMessages(): void {
    const queue = this.#driver?.queues[controlQueue.input];
    if (queue === undefined || !this.#running) return;
    for (const port of this.#present) {
      for (let message = port.nextMessage(); message !== undefined; message = port.nextMessage()) {
        const chain = queue.pop() ?? (queue.hasAvailable() ? queue.pop() : undefined);
        if (chain === undefined) {
          queue.tell();
          return;
        }
        queue.push(chain, scatter(message, chain.writable));
        port.messageSent();
      }
    }
    queue.tell();
  }

  #restore(states: readonly PortState[]): void {
    const problem = states
      .map((state, number) => {
        const port = this.#ports[number];
        if (port === undefined) return isSame(state, noPort) ? undefined : `port ${number} does not exist here`;
        return state.present ? port.problemOf(state) : `port ${number} did not exist`;
      })
      .find((each) => each !== undefined);
    if (problem !== undefined) throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.#id, reason: problem });
    for (const [number, state] of states.entries()) this.#ports[number]?.restore(state);
  }
}

/** The state where there is no port. */
const noPort: PortState = {
  present: false,
  console: false,
  ready: false,
  guestOpen: false,
  hostOpen: false,
  pending: 0,
  sent: 0n,
};

function isSame(one: PortState, other: PortState): boolean {
  return (Object.keys(other) as (keyof PortState)[]).every((name) => one[name] === other[name]);
}

/** Puts bytes where the driver has room for them; gives how many. */
function scatter(bytes: Uint8Array, buffers: readonly Uint8Array[]): number {
  let at = 0;
  for (const buffer of buffers) {
    const piece = bytes.subarray(at, at + buffer.length);
    buffer.set(piece);
    at += piece.length;
  }
  return at;
}
