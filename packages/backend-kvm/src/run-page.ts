/** Why KVM_RUN returned (KVM api.rst §5, `exit_reason`). */
export const exitReason = {
  unknown: 0,
  io: 2,
  mmio: 6,
  irqWindowOpen: 7,
  shutdown: 8,
  failEntry: 9,
  interrupted: 10,
  internalError: 17,
  ioapicEoi: 26,
} as const;

/** `struct kvm_run` (KVM api.rst §5): what kernel and user space tell each other of one vCPU. */
export class RunPage {
  readonly #view: DataView;

  constructor(page: ArrayBuffer) {
    this.#view = new DataView(page);
  }

  get exitReason(): number {
    return this.#view.getUint32(8, true);
  }

  /** The vCPU would take an interrupt now. */
  get readyForInterrupt(): boolean {
    return this.#view.getUint8(12) !== 0;
  }

  /** Asks for an exit as soon as {@link readyForInterrupt} becomes true. */
  set requestInterruptWindow(wanted: boolean) {
    this.#view.setUint8(0, wanted ? 1 : 0);
  }

  /** KVM_EXIT_IO: an access to a port, or a repeated one. */
  get io() {
    const view = this.#view;
    return {
      out: view.getUint8(32) === 1,
      size: view.getUint8(33),
      port: view.getUint16(34, true),
      count: view.getUint32(36, true),
      dataOffset: Number(view.getBigUint64(40, true)),
    };
  }

  /** KVM_EXIT_MMIO; its data begins at {@link mmioData}. */
  get mmio() {
    const view = this.#view;
    return {
      address: Number(view.getBigUint64(32, true)),
      length: view.getUint32(48, true),
      write: view.getUint8(52) !== 0,
    };
  }

  static readonly mmioData = 40;

  /** KVM_EXIT_IOAPIC_EOI. */
  get endedVector(): number {
    return this.#view.getUint8(32);
  }

  /** KVM_EXIT_INTERNAL_ERROR. */
  get internalError() {
    const count = Math.min(this.#view.getUint32(36, true), 16);
    return {
      kind: this.#view.getUint32(32, true),
      data: Array.from({ length: count }, (_, index) => this.#view.getBigUint64(40 + 8 * index, true)),
    };
  }

  /** KVM_EXIT_FAIL_ENTRY and KVM_EXIT_UNKNOWN: the hardware's reason. */
  get hardwareReason(): bigint {
    return this.#view.getBigUint64(32, true);
  }

  read(offset: number, size: 1 | 2 | 4): number {
    const view = this.#view;
    return size === 1
      ? view.getUint8(offset)
      : size === 2
        ? view.getUint16(offset, true)
        : view.getUint32(offset, true);
  }

  write(offset: number, size: 1 | 2 | 4, value: number): void {
    const view = this.#view;
    if (size === 1) view.setUint8(offset, value);
    else if (size === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
  }
}
