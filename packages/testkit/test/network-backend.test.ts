import {
  type NetworkBackend,
  type NetworkCard,
  type NetworkLink,
  type NetworkOptions,
  NetworkProperties,
  networkErrors,
} from "@cpr/core";
import { describe, expect, test } from "vitest";
import { type NetworkPlace, networkBackendCases, networkBackendCompliance } from "../src/network-backend.ts";
import { failingCases } from "./failing-cases.ts";

const most = 50;

/** A wire in the memory of the test. The other end has a queue that can be full. */
class Wire implements NetworkPlace {
  static readonly all = new Map<string, Wire>();
  readonly options: NetworkOptions;
  readonly received: Uint8Array[] = [];
  holder: ToyLink | undefined;
  #taking = true;
  readonly queue: Uint8Array[] = [];

  constructor() {
    const wire = String(Wire.all.size);
    this.options = { type: "toy", id: "n0", properties: { wire } };
    Wire.all.set(wire, this);
  }

  async send(frame: Uint8Array): Promise<void> {
    this.holder?.arrive(frame);
  }

  put(frame: Uint8Array): boolean {
    if (this.queue.length === most) return false;
    this.queue.push(frame);
    this.#drain();
    return true;
  }

  take(on: boolean): void {
    this.#taking = on;
    this.#drain();
  }

  async close(): Promise<void> {
    this.holder = undefined;
  }

  #drain(): void {
    const wasFull = this.queue.length === most;
    if (!this.#taking) return;
    this.received.push(...this.queue.splice(0).filter(({ length }) => length > 13));
    if (wasFull) this.holder?.drained();
  }
}

class ToyLink implements NetworkLink {
  readonly supports = { offloads: false, survivesProcessExit: true };
  card: NetworkCard | undefined;
  readonly wire: Wire;
  readonly waiting: Uint8Array[] = [];

  constructor(wire: Wire) {
    this.wire = wire;
  }

  get up(): boolean {
    return true;
  }

  attach(card: NetworkCard): void {
    this.card = card;
  }

  send(parts: readonly Uint8Array[]): boolean {
    return this.wire.holder === this ? this.wire.put(new Uint8Array(Buffer.concat(parts))) : true;
  }

  receive(): void {
    while (this.waiting[0] !== undefined && this.card?.receive(this.waiting[0]) === true) this.waiting.shift();
  }

  async start(): Promise<void> {
    if (this.wire.holder !== undefined) throw networkErrors.ERR_CPR_NETWORK_BUSY({ id: "n0", place: "the wire" });
    this.wire.holder = this;
  }

  stop(): void {
    if (this.wire.holder === this) this.wire.holder = undefined;
  }

  close(): void {
    this.stop();
  }

  arrive(frame: Uint8Array): void {
    this.waiting.push(frame);
    if (this.waiting.length === 1) this.receive();
  }

  drained(): void {
    this.card?.sendable();
  }
}

class ToyBackend implements NetworkBackend {
  readonly name = "toy";
  readonly supports = { offloads: false, survivesProcessExit: true };
  readonly #make: (wire: Wire) => ToyLink;

  constructor(make: (wire: Wire) => ToyLink = (wire) => new ToyLink(wire)) {
    this.#make = make;
  }

  async open(options: NetworkOptions): Promise<NetworkLink> {
    const properties = new NetworkProperties(options);
    const wire = Wire.all.get(properties.requiredText("wire", "a wire"));
    properties.done();
    return this.#make(wire as Wire);
  }
}

networkBackendCompliance({ name: "toy", create: () => new ToyBackend(), place: async () => new Wire() });

class Forgetful extends ToyLink {
  override receive(): void {
    while (this.waiting[0] !== undefined) this.card?.receive(this.waiting.shift() as Uint8Array);
  }
}

class Endless extends ToyLink {
  override send(parts: readonly Uint8Array[]): boolean {
    super.send(parts);
    return true;
  }
}

class Mute extends ToyLink {
  override drained(): void {
    // Nobody is told.
  }
}

class Clinging extends ToyLink {
  override stop(): void {
    // It keeps the wire.
  }
}

class Cutting extends ToyLink {
  override send(parts: readonly Uint8Array[]): boolean {
    return super.send([Buffer.concat(parts).subarray(0, 1500)]);
  }
}

describe("the suite notices a backend", () => {
  test.each([
    [
      "that loses what the card has no room for",
      Forgetful,
      "keeps a frame that the card has no room for, and those behind it",
    ],
    [
      "that takes more than the other end",
      Endless,
      "takes no more than the other end does, loses nothing that it took, and says when it takes more",
    ],
    [
      "that does not say when it takes more",
      Mute,
      "takes no more than the other end does, loses nothing that it took, and says when it takes more",
    ],
    ["that keeps its network", Clinging, "can be open twice, and goes from one who has it to one who waits"],
    ["that cuts long frames", Cutting, "carries frames of every size from the guest, whole and in order"],
  ])("%s", async (_what, Link, name) => {
    const cases = networkBackendCases({
      name: "broken",
      create: () => new ToyBackend((wire) => new Link(wire)),
      place: async () => new Wire(),
    });
    expect(await failingCases(cases)).toContain(name);
  });

  test("that takes any property", async () => {
    class Careless extends ToyBackend {
      override async open({ properties }: NetworkOptions): Promise<NetworkLink> {
        return new ToyLink(Wire.all.get(properties["wire"] as string) as Wire);
      }
    }
    const cases = networkBackendCases({ name: "broken", create: () => new Careless(), place: async () => new Wire() });
    expect(await failingCases(cases)).toEqual(["refuses a property that it does not know, by its name"]);
  });
});
