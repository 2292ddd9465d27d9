import {
  type AccessSize,
  type AddressRange,
  type Bus,
  type BusClaim,
  type BusHandler,
  type BusSpace,
  ClaimedSpace,
} from "@cpr/core";

/** A range that somebody has claimed and not released. */
export interface RecordedClaim {
  readonly space: "ports" | "mmio";
  readonly owner: string;
  readonly base: number;
  readonly length: number;
}

/** An access that reached the bus, in the order of time. */
export interface RecordedAccess {
  readonly space: "ports" | "mmio";
  readonly kind: "read" | "write";
  readonly address: number;
  readonly size: AccessSize;
  /** What was read or written. */
  readonly value: number;
}

class RecordingSpace implements BusSpace {
  readonly #space = new ClaimedSpace();
  readonly #name: "ports" | "mmio";
  readonly #bus: RecordingBus;

  constructor(name: "ports" | "mmio", bus: RecordingBus) {
    this.#name = name;
    this.#bus = bus;
  }

  claim(owner: string, base: number, length: number, handler: BusHandler): BusClaim {
    const claim = this.#space.claim(owner, base, length, handler);
    const record = { space: this.#name, owner, base, length };
    this.#bus.claims.push(record);
    return {
      release: () => {
        claim.release();
        const at = this.#bus.claims.indexOf(record);
        if (at >= 0) this.#bus.claims.splice(at, 1);
      },
    };
  }

  isFree(base: number, length: number): boolean {
    return this.#space.isFree(base, length);
  }

  read(address: number, size: AccessSize): number {
    const value = this.#space.read(address, size);
    this.#bus.accesses.push({ space: this.#name, kind: "read", address, size, value });
    return value;
  }

  write(address: number, size: AccessSize, value: number): void {
    this.#bus.accesses.push({ space: this.#name, kind: "write", address, size, value });
    this.#space.write(address, size, value);
  }

  get onDoorbellsChange(): (() => void) | undefined {
    return this.#space.onDoorbellsChange;
  }

  set onDoorbellsChange(listener: (() => void) | undefined) {
    this.#space.onDoorbellsChange = listener;
  }

  doorbells(): readonly number[] {
    return this.#space.doorbells();
  }

  ignoredWrites(): readonly AddressRange[] {
    return this.#space.ignoredWrites();
  }
}

/** A bus that works, and tells afterwards who claimed what and what was accessed. */
export class RecordingBus implements Bus {
  readonly claims: RecordedClaim[] = [];
  readonly accesses: RecordedAccess[] = [];
  readonly ports: BusSpace = new RecordingSpace("ports", this);
  readonly mmio: BusSpace = new RecordingSpace("mmio", this);
}
