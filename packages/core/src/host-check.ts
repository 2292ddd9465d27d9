import { extensionPoint } from "./plugin.ts";

/** What people want a host for. */
export type HostAbility =
  /** Run VMs. */
  | "run"
  /** Run VMs at the speed of the host's processor. */
  | "full-speed"
  /** Replace the process of a VM, with its RAM in place. */
  | "restart"
  /** Carry VMs over a reboot in files on a disk. */
  | "reboot"
  /** Replace the host's kernel under VMs, with their RAM in place. */
  | "replace-kernel";

/** Something that a host has or lacks. */
export interface HostFinding {
  /** What was looked at, as people know it: `/dev/kvm`, `kexec-tools`. Of one check no two are the same. */
  readonly subject: string;
  /** `ready`: it can be used as it is. `limited`: it can be used, but not for all, or not as well. `missing`: it cannot be used. */
  readonly status: "ready" | "limited" | "missing";
  /** What was found, in one line. */
  readonly found: string;
  /** What to do about it, in one line. There is always one unless the status is `ready`. */
  readonly remedy?: string;
  /** None of these can be done if this is missing. */
  readonly neededFor?: readonly HostAbility[];
  /** For each of these it is enough that one of those findings that name it is not missing. */
  readonly enoughFor?: readonly HostAbility[];
}

/**
 * Looks at what a host has of the things that a plugin needs, for `cpr doctor`. It changes nothing, waits for nothing that
 * may not come, and does what it can without privileges: what it may not look at is a finding as well, and so is whatever
 * goes wrong.
 */
export interface HostCheck {
  /** The key under `provides`. */
  readonly name: string;
  /** What it is about: the heading of its findings. */
  readonly summary: string;
  /** There is at least one finding. */
  examine(): Promise<readonly HostFinding[]>;
}

export const HostCheck = extensionPoint<HostCheck>("host-check");
