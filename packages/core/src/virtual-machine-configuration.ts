import type { DescriptorRegistry } from "./descriptor-registry.ts";
import type { MachineOptions } from "./machine.ts";
import type { MemoryObjectOptions } from "./memory-provider.ts";

/** A character device as its host's end sees it. */
export interface CharacterDeviceGuest {
  /** Sends input to the guest; fulfilled when there is room for more. */
  input(bytes: Uint8Array): Promise<void>;
  /** Somebody is at the host's end now, or not any more; until this is called, it is so as {@link CharacterBackend.opened} says. */
  setOpened(opened: boolean): void;
}

/** The host's end of a character device, on the main thread: where the guest's output goes, and its input comes from. */
export interface CharacterBackend {
  /** What it is, in QEMU's words: `stdio`, `unix:/run/vm.sock,server=on`. It may change with who is there. */
  readonly filename: string;
  /** Somebody is there from the start. True if undefined. */
  readonly opened?: boolean;
  /** Takes output in order. The buffer is the receiver's to keep. If it gives a promise, this is fulfilled when there is room for more. */
  write(bytes: Uint8Array): Promise<void> | undefined;
  /** Called once, when there is a machine; input that came before has waited. */
  connect?(guest: CharacterDeviceGuest): void;
  /** Called when the VM has ended and all output was written. */
  close?(): Promise<void>;
}

/** Settings of migrations that the command line gives. */
export interface MigrationConfiguration {
  /** `-global migration.NAME=VALUE`: capabilities and parameters, as a person writes them. */
  readonly properties: readonly { readonly name: string; readonly value: string }[];
  /** `-migrate-mode-enable MODE`: modes that must be there. All that are installed are enabled anyway. */
  readonly modes: readonly string[];
}

/** All that a VM is made from: what the command line says, checked for form but not against the host. */
export interface VirtualMachineConfiguration {
  /** `-name`. */
  readonly name: string;
  /** `-uuid`. */
  readonly uuid?: string;
  /** `-m`, in bytes. */
  readonly ramSize: number;
  /** `-object memory-backend-…`, in the order of the command line. */
  readonly memoryObjects: readonly MemoryObjectOptions[];
  /**
   * `-machine …,memory-backend=ID`: which object is the RAM. Undefined: the only object there is, or private RAM with
   * the id `pc.ram` if there is none.
   */
  readonly ramObject?: string;
  /** `-accel`; undefined: the best backend that works on this host. */
  readonly backend?: string;
  /** `-cpu`; undefined: the backend's default. */
  readonly processorModel?: string;
  /** `-cpu …,tsc-frequency=HZ`; undefined: one that all backends of this host can provide, if there is one. */
  readonly tscFrequency?: number;
  readonly machine: Omit<MachineOptions, "backend" | "processorModel" | "tscFrequency" | "incoming" | "uuid">;
  /** `-incoming defer` or `-incoming URI`. */
  readonly incoming?: string;
  /** How migrations are to be from the start. */
  readonly migration?: MigrationConfiguration;
  /** `-S`: the VM waits in prelaunch for `cont`. */
  readonly startStopped?: boolean;
  /** Descriptors that the VM is given from the start, e.g. by `-add-fd`. */
  readonly descriptors?: DescriptorRegistry;
  /** Character devices by id; the ids in `machine.serial` are among them. */
  readonly characterDevices: ReadonlyMap<string, CharacterBackend>;
}
