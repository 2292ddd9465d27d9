import { createRequire } from "node:module";

/** Joins the vCPU threads of one VM with the JavaScript thread that serves their exits: see kvm.cc. */
export interface VcpuHub {
  /**
   * The vCPUs that have something to tell, as a bit mask; waits for one or a doorbell, first spinning and then blocked, up to so many
   * nanoseconds each.
   */
  take(spin: number, block: number): number;
  /** The doorbells that were rung since the last call, as a bit mask. */
  takeRung(): number;
  /**
   * Takes the place of all doorbells: guest-physical addresses, of which the first 32 count. A vCPU that writes to one goes on at once, and
   * {@link takeRung} tells.
   */
  listen(addresses: Float64Array): void;
  /** From now on `onWake` is called; false if there is something to take already. */
  idle(): boolean;
  close(): void;
}

/** What a vCPU thread does. */
export const threadState = { parked: 0, running: 1, exited: 2 } as const;

/** A thread that executes one vCPU: see kvm.cc. */
export interface VcpuThread {
  /** `struct kvm_run` and what follows it, until {@link close}. */
  readonly runPage: ArrayBuffer;
  readonly state: number;
  /** What KVM_RUN returned when the vCPU has exited: 0, or a negated errno. */
  readonly outcome: number;
  /** Executes the vCPU, from parked or after an exit was served. */
  resume(): void;
  /** Makes a vCPU that executes exit, with outcome -EINTR. */
  kick(): void;
  /** The vCPU parks as soon as it can: at once, or when an exit was served and {@link resume} called. */
  stop(): void;
  close(): void;
}

/** What kvm.cc exports. Functions give 0 or more, or a negated errno. */
export interface Addon {
  open(path: string): number;
  close(descriptor: number): number;
  eventfd(): number;
  ioctl(descriptor: number, request: number, argument: number | Uint8Array): number;
  readonly VcpuHub: new (onWake: () => void) => VcpuHub;
  readonly VcpuThread: new (
    hub: VcpuHub,
    descriptor: number,
    index: number,
    runSize: number,
    spin: number,
  ) => VcpuThread;
}

/** Loads the addon. @throws what Node says if it was not compiled or does not load. */
export function loadAddon(path = "../build/kvm.node"): Addon {
  return createRequire(import.meta.url)(path) as Addon;
}
