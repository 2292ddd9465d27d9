import { type Device, type DeviceContext, defineState, type PciBus, u32 } from "@cpr/core";
import type { FakeDeviceContext } from "@cpr/testkit/fakes";
import {
  PciHostModel,
  type VirtioCheckpoint,
  type VirtioDevice,
  type VirtioDriver,
  type VirtioTransport,
  virtioPciDevice,
} from "../src/index.ts";
import { RecordingApicBus } from "./wiring.ts";

/** A feature of {@link EchoDevice}: it answers in capitals. */
export const capitals = 1n << 5n;

/**
 * A virtio device of tests: it answers requests in queue 0 with what they say, counts them in its configuration space, and
 * tells of a configuration change where a request is empty.
 */
export class EchoDevice implements VirtioDevice {
  readonly deviceId = 42;
  readonly queueSizes = [8, 4];
  readonly features = capitals;
  readonly configuration = new Uint8Array(6);
  readonly checkpoint: VirtioCheckpoint = {
    kind: "state",
    schema: defineState("echo", 1, { count: u32 }),
    save: () => ({ count: this.count }),
    restore: ({ count }) => {
      this.count = count as number;
    },
  };
  readonly calls: string[] = [];
  driver: VirtioDriver | undefined;
  readonly transport: VirtioTransport;

  constructor(transport: VirtioTransport) {
    this.transport = transport;
  }

  get count(): number {
    return this.#view.getUint32(0, true);
  }

  set count(count: number) {
    this.#view.setUint32(0, count, true);
  }

  writeConfiguration(offset: number, size: 1 | 2 | 4, value: number): void {
    this.calls.push(`write ${offset} ${size} ${value}`);
  }

  start(driver: VirtioDriver): void {
    this.driver = driver;
    this.calls.push("start");
  }

  notify(index: number): void {
    const queue = this.driver?.queues[index];
    queue?.process((chain) => {
      const [request = new Uint8Array()] = chain.readable;
      const [answer] = chain.writable;
      const text = Buffer.from(request).toString("latin1");
      const loud = ((this.driver?.features ?? 0n) & capitals) !== 0n;
      answer?.set(Buffer.from(loud ? text.toUpperCase() : text, "latin1").subarray(0, answer.length));
      this.count = (this.count + 1) >>> 0;
      queue.push(chain, Math.min(request.length, answer?.length ?? 0));
      if (answer === undefined) this.transport.configurationChanged();
    });
  }

  reset(): void {
    this.driver = undefined;
    this.count = 0;
    this.calls.push("reset");
  }

  get #view(): DataView {
    return new DataView(this.configuration.buffer);
  }
}

/** One that has requests under way when it is told to pause. */
export class SlowEchoDevice extends EchoDevice {
  /** Ends what is under way. */
  end: () => void = () => undefined;

  pause(): Promise<void> {
    this.calls.push("pause");
    return new Promise((resolve) => {
      this.end = resolve;
    });
  }

  resume(): void {
    this.calls.push("resume");
  }
}

const window = { firstInterrupt: 16, windowBase: 0xe000_0000, windowSize: 0x1000_0000 };

/** What a device model is given, under another id and with other properties. */
export function contextFor(
  context: FakeDeviceContext,
  id: string,
  properties: Readonly<Record<string, unknown>>,
): DeviceContext {
  return Object.assign(Object.create(context) as FakeDeviceContext, { id, properties });
}

/** A host bridge in a context, and where its messages go. */
export function makeHost(context: FakeDeviceContext, id = "pci"): { host: Device & PciBus; apicBus: RecordingApicBus } {
  const apicBus = new RecordingApicBus();
  return { host: new PciHostModel().create(contextFor(context, id, { apicBus, ...window })), apicBus };
}

/** A host bridge and an {@link EchoDevice} in its slot 1. */
export function makeEcho<T extends EchoDevice = EchoDevice>(
  context: FakeDeviceContext,
  properties: Readonly<Record<string, unknown>> = {},
  kind: new (transport: VirtioTransport) => T = EchoDevice as new (
    transport: VirtioTransport,
  ) => T,
) {
  const { host, apicBus } = makeHost(context);
  let echo: T | undefined;
  const device = virtioPciDevice(
    contextFor(context, context.id, { bus: host, ...properties }),
    (transport) => {
      echo = new kind(transport);
      return echo;
    },
    { name: "virtio-echo-pci", deviceClass: 0x00_ff00 },
  );
  return { host, apicBus, device, echo: echo as T };
}
