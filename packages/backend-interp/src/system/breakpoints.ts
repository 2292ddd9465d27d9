import { cr4 } from "./architecture.ts";
import type { Registers } from "./registers.ts";

const dataKinds = { write: 1, port: 2, access: 3 } as const;
const lengths = [1, 2, 8, 4] as const;

/** One of the four addresses of DR0 to DR3. */
interface Breakpoint {
  readonly bit: number;
  readonly kind: number;
  readonly address: bigint;
  readonly length: number;
}

/**
 * Hardware breakpoints (Intel SDM Vol. 3B §18.2). While any is enabled, instructions are executed one at a time and
 * the pages of data breakpoints are kept out of the TLB, so they cost nothing when they are not used.
 */
export class Breakpoints {
  /** Any breakpoint is enabled. */
  enabled = false;
  /** Bits for DR6 that the current instruction's accesses have met. */
  met = 0;
  readonly #registers: Registers;
  #execution: readonly Breakpoint[] = [];
  #data: readonly Breakpoint[] = [];
  #ports: readonly Breakpoint[] = [];

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  /** Reads DR0 to DR7 anew. */
  update(): void {
    const control = Number(this.#registers.debug(7));
    const all: Breakpoint[] = [];
    for (let index = 0; index < 4; index++) {
      if (((control >>> (2 * index)) & 3) === 0) continue;
      const length = lengths[(control >>> (18 + 4 * index)) & 3] as number;
      all.push({
        bit: 1 << index,
        kind: (control >>> (16 + 4 * index)) & 3,
        address: this.#registers.debug(index) & ~BigInt(length - 1),
        length,
      });
    }
    const ports = (this.#registers.cr4 & cr4.debuggingExtensions) !== 0;
    this.#execution = all.filter(({ kind }) => kind === 0);
    this.#data = all.filter(({ kind }) => kind === dataKinds.write || kind === dataKinds.access);
    this.#ports = all.filter(({ kind }) => ports && kind === dataKinds.port);
    this.enabled = this.#execution.length + this.#data.length + this.#ports.length > 0;
  }

  /** DR6 bits of the breakpoints at the linear address of an instruction. */
  atInstruction(address: bigint): number {
    let bits = 0;
    for (const breakpoint of this.#execution) {
      if (breakpoint.address === address) bits |= breakpoint.bit;
    }
    return bits;
  }

  watchesPage(high: number, low: number): boolean {
    if (this.#data.length === 0) return false;
    const page = ((BigInt(high) << 32n) | BigInt(low >>> 0)) >> 12n;
    return this.#data.some(({ address }) => address >> 12n === page);
  }

  /** Notes a data access. */
  access(high: number, low: number, size: number, write: boolean): void {
    if (this.#data.length === 0) return;
    const start = (BigInt(high) << 32n) | BigInt(low >>> 0);
    for (const { address, length, kind, bit } of this.#data) {
      const overlaps = start < address + BigInt(length) && address < start + BigInt(size);
      if (overlaps && (write || kind === dataKinds.access)) this.met |= bit;
    }
  }

  /** Notes an access to I/O ports. */
  port(port: number, size: number): void {
    for (const { address, length, bit } of this.#ports) {
      const at = Number(address & 0xffffn);
      if (port < at + length && at < port + size) this.met |= bit;
    }
  }
}
