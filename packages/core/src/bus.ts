/** The widths of a port or MMIO access in bytes. An 8-byte MMIO access is made as two 4-byte ones, low half first. */
export type AccessSize = 1 | 2 | 4;

/** What answers accesses to a range of I/O ports or of guest-physical addresses. Values are unsigned. */
export interface BusHandler {
  /** `offset` counts from the start of the claimed range. */
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
  /** Writes have no effect, so that a backend need not stop the guest for them (KVM api.rst, KVM_IOEVENTFD). */
  readonly ignoresWrites?: true;
  /**
   * Offsets at which a write only says that there is something to do, whatever its value and width: a backend may let the guest go on
   * at once and write later, once for several writes, two bytes of zero. What was written when the VM is stopped may never be: a
   * device looks for itself when it goes on.
   */
  readonly doorbells?: readonly number[];
}

/** A range of addresses. */
export interface AddressRange {
  readonly base: number;
  readonly length: number;
}

/** A claimed range. */
export interface BusClaim {
  /** Gives the range back: nobody answers there any more. */
  release(): void;
}

/** An address space that devices claim ranges of. */
export interface BusSpace {
  /**
   * Claims `length` addresses from `base` on.
   *
   * @throws {RangeError} if any of them is claimed already; the message names both owners.
   */
  claim(owner: string, base: number, length: number, handler: BusHandler): BusClaim;
  /** Whether {@link claim} would succeed. */
  isFree(base: number, length: number): boolean;
  /** A read that nobody claims gives all ones, as a floating ISA bus does. */
  read(address: number, size: AccessSize): number;
  /** A write that nobody claims has no effect. */
  write(address: number, size: AccessSize, value: number): void;
  /** The ranges whose handlers are {@link BusHandler.ignoresWrites}. */
  ignoredWrites(): readonly AddressRange[];
  /** The addresses of all {@link BusHandler.doorbells} that are claimed now. */
  doorbells(): readonly number[];
  /** Called when {@link doorbells} may have changed; a backend that wants to know sets it. */
  onDoorbellsChange: (() => void) | undefined;
}

/** Both address spaces of a PC in which devices answer. */
export interface Bus {
  /** I/O ports 0 to 0xffff (Intel SDM Vol. 1 chapter 19). */
  readonly ports: BusSpace;
  /** Guest-physical addresses that are not RAM. */
  readonly mmio: BusSpace;
}

interface Claim {
  readonly owner: string;
  readonly base: number;
  readonly end: number;
  readonly handler: BusHandler;
}

const allOnes = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const;

/** An address space whose claims are found by bisection. An access that only partly hits a claim goes to its start's owner. */
export class ClaimedSpace implements BusSpace {
  onDoorbellsChange: (() => void) | undefined;
  readonly #claims: Claim[] = [];
  #recent: Claim | undefined;

  claim(owner: string, base: number, length: number, handler: BusHandler): BusClaim {
    const end = base + length;
    const at = this.#firstEndingAfter(base);
    const next = this.#claims[at];
    if (next !== undefined && next.base < end) {
      throw new RangeError(`${owner} claims 0x${base.toString(16)}+${length}, which belongs to ${next.owner}`);
    }
    const claim = { owner, base, end, handler };
    this.#claims.splice(at, 0, claim);
    if (handler.doorbells !== undefined) this.onDoorbellsChange?.();
    return { release: () => this.#release(claim) };
  }

  isFree(base: number, length: number): boolean {
    const next = this.#claims[this.#firstEndingAfter(base)];
    return next === undefined || next.base >= base + length;
  }

  read(address: number, size: AccessSize): number {
    const claim = this.#find(address);
    return claim === undefined ? allOnes[size] : claim.handler.read(address - claim.base, size);
  }

  write(address: number, size: AccessSize, value: number): void {
    const claim = this.#find(address);
    if (claim !== undefined) {
      claim.handler.write(address - claim.base, size, value);
    }
  }

  ignoredWrites(): readonly AddressRange[] {
    return this.#claims
      .filter(({ handler }) => handler.ignoresWrites === true)
      .map(({ base, end }) => ({ base, length: end - base }));
  }

  doorbells(): readonly number[] {
    return this.#claims.flatMap(({ base, handler }) => (handler.doorbells ?? []).map((offset) => base + offset));
  }

  #release(claim: Claim): void {
    const at = this.#claims.indexOf(claim);
    if (at >= 0) this.#claims.splice(at, 1);
    if (this.#recent === claim) this.#recent = undefined;
    if (claim.handler.doorbells !== undefined) this.onDoorbellsChange?.();
  }

  #find(address: number): Claim | undefined {
    const recent = this.#recent;
    if (recent !== undefined && address >= recent.base && address < recent.end) {
      return recent;
    }
    const claim = this.#claims[this.#firstEndingAfter(address)];
    if (claim === undefined || address < claim.base) {
      return undefined;
    }
    this.#recent = claim;
    return claim;
  }

  /** Index of the first claim whose end lies above `address`; the number of claims if there is none. */
  #firstEndingAfter(address: number): number {
    let low = 0;
    let high = this.#claims.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#claims[middle] as Claim).end > address) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
}

/** Makes an empty bus. */
export function createBus(): Bus {
  return { ports: new ClaimedSpace(), mmio: new ClaimedSpace() };
}
