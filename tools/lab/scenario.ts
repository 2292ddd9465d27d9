/** What a scenario is given inside the lab host. */
export interface Lab {
  /** Tells this machine a line. */
  report(line: string): void;
  /** The backends of `cpr` that it is to try, as `-accel` names them. */
  readonly accelerators: readonly string[];
  /** How many vCPUs its guests are to have, one run for each number. */
  readonly processors: readonly number[];
}

/** What a lab host has beside its processors, 8 GiB of RAM and the console. Sizes are as QEMU takes them: `4608M`, `1G`. */
export interface LabHost {
  /**
   * The sizes of its NVDIMMs, whose contents survive a kexec: `/dev/pmem0`, `/dev/pmem1`, … or what `makeDeviceDax` makes of
   * them, which has 2 MiB less.
   */
  readonly nvdimms?: readonly string[];
  /** The size of its disk: an ext4 file system, empty at first, mounted at `/var`. */
  readonly disk?: string;
  /**
   * Whether its disk is the Debian of `npm run image`, for a guest: `/dev/vdb`, which is at `/var` at first, with
   * `initrd-disk.cpio` beside the other assets for guests.
   */
  readonly debianDisk?: boolean;
  /**
   * Whether its init is Debian's systemd. The disk is another one then: the root is on it, with 3 GiB of room in `/var` as
   * anywhere else. The scenario is run by a unit once the host has booted.
   */
  readonly systemd?: boolean;
  /** Whether there is another kernel to go over to: `/boot/vmlinuz` and `/boot/initrd.img`, to which `executeSecondKernel` goes. */
  readonly secondKernel?: boolean;
}

/** Something that is proved in the lab host. Its module is imported on this machine, too, which reads all but `run`. */
export interface Scenario {
  /** A sentence for people. */
  readonly description: string;
  /** How long it may take, the boot of the lab host included, in seconds. */
  readonly seconds: number;
  /** Programs in C in `tools/lab/programs` that it runs, without `.c`. */
  readonly programs?: readonly string[];
  /** The backends that it tries when none are named. */
  readonly accelerators?: readonly string[];
  /** The numbers of vCPUs that its guests have when none are named. */
  readonly processors?: readonly number[];
  /** What it needs of a lab host that not every one has. */
  readonly host?: LabHost;
  /** Runs in the lab host; the scenario has passed when this does not throw. */
  run(lab: Lab): Promise<void>;
  /**
   * What follows after `run` has gone over to the second kernel, which it then must do; the scenario has passed when this does
   * not throw. What it is to know of what was before is on the disk.
   */
  afterKexec?(lab: Lab): Promise<void>;
}

/** The time since `start`, a value of `performance.now()`, for people. */
export const secondsSince = (start: number): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;
