const pageSize = 4096;

/** What holds decoded code of RAM pages: the block cache of a vCPU. */
export interface CodeHolder {
  /** Stores of this vCPU to a page must be seen from now on, under whatever linear address. */
  protectPage(ramPage: number): void;
  /** The code of a page was or may have been written: what was decoded from it must not execute any more. */
  invalidatePage(ramPage: number): void;
}

/**
 * The RAM pages that any vCPU of a machine may hold decoded code of. While a page is among them, no vCPU's TLB lets stores
 * to it through unseen, so that code which one vCPU writes and another executes is right, as it is on a processor
 * (Intel SDM Vol. 3A §9.1.3).
 *
 * A holder that forgets its code need not say so: the page's next store finds that out.
 */
export class CodePages {
  readonly #pages = new Set<number>();
  readonly #holders: CodeHolder[] = [];

  /** Every vCPU of the machine joins, also one that never executes: its TLB is protected like the others'. */
  join(holder: CodeHolder): void {
    this.#holders.push(holder);
  }

  /** Whether stores to a page must be told to {@link written}. */
  has(ramPage: number): boolean {
    return this.#pages.has(ramPage);
  }

  /** A holder begins to hold code of a page. */
  add(ramPage: number): void {
    if (this.#pages.has(ramPage)) return;
    this.#pages.add(ramPage);
    for (const holder of this.#holders) holder.protectPage(ramPage);
  }

  /** A page was or may have been written, by whatever it be. */
  written(ramPage: number): void {
    if (!this.#pages.delete(ramPage)) return;
    for (const holder of this.#holders) holder.invalidatePage(ramPage);
  }

  /** A range of RAM was written, by a device. */
  rangeWritten(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / pageSize);
    for (let page = Math.floor(offset / pageSize); page < end; page++) this.written(page);
  }
}
