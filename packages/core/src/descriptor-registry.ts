import { closeSync, constants, readFileSync } from "node:fs";
import { descriptorErrors } from "./errors/descriptor-errors.ts";

/** What a descriptor is wanted for. */
export interface DescriptorUse {
  readonly access: "read" | "write";
  /** It bypasses the page cache (open(2) O_DIRECT). */
  readonly direct: boolean;
  /** For errors. */
  readonly uri: string;
}

/** A descriptor that is open at least until it is released. */
export interface LentDescriptor {
  readonly descriptor: number;
  release(): void;
}

/** Descriptors that the user handed over, as transports find them. */
export interface DescriptorSource {
  /**
   * Lends a descriptor of a set, as opening `/dev/fdset/N` does in QEMU: one whose access mode and O_DIRECT flag are
   * those that are wanted, the last one that was added if several are.
   *
   * @throws {CprError} ERR_CPR_FDSET_UNKNOWN, ERR_CPR_FDSET_FLAGS
   */
  lend(set: number, use: DescriptorUse): LentDescriptor;
  /**
   * Gives a named descriptor away: the name is gone, and the descriptor is the caller's to close.
   *
   * @throws {CprError} ERR_CPR_FD_UNKNOWN
   */
  take(name: string, uri: string): number;
}

/** A set of descriptors, as `query-fdsets` tells. */
export interface DescriptorSet {
  readonly id: number;
  readonly descriptors: readonly { readonly descriptor: number; readonly opaque?: string }[];
}

interface Member {
  readonly descriptor: number;
  readonly opaque: string | undefined;
  /** How often it is lent. */
  uses: number;
  /** Nobody finds it any more; it is closed when nobody uses it. */
  removed: boolean;
}

/**
 * The descriptors that a user has handed over to a VM: sets, from which `/dev/fdset/N` takes (QEMU: `add-fd`), and named
 * ones, which are used once (QEMU: `getfd`). What is handed over belongs to the registry.
 */
export class DescriptorRegistry implements DescriptorSource {
  readonly #sets = new Map<number, Member[]>();
  readonly #named = new Map<string, number>();

  /**
   * `add-fd`
   *
   * @param set - made if it is not there; the lowest free number if undefined.
   * @throws {CprError} ERR_CPR_FDSET_ID; the descriptor is not the registry's then.
   */
  add(descriptor: number, set?: number, opaque?: string): { readonly set: number; readonly descriptor: number } {
    if (set !== undefined && !(Number.isSafeInteger(set) && set >= 0)) {
      throw descriptorErrors.ERR_CPR_FDSET_ID({ set });
    }
    let id = set ?? 0;
    while (set === undefined && this.#sets.has(id)) {
      id += 1;
    }
    const members = this.#sets.get(id) ?? [];
    members.push({ descriptor, opaque, uses: 0, removed: false });
    this.#sets.set(id, members);
    return { set: id, descriptor };
  }

  /**
   * `remove-fd`: removes one descriptor of a set, or all. Those that are in use are closed when they are not any more.
   *
   * @throws {CprError} ERR_CPR_FD_NOT_FOUND
   */
  remove(set: number, descriptor?: number): void {
    const found = (this.#sets.get(set) ?? []).filter(
      (member) => !member.removed && (descriptor === undefined || member.descriptor === descriptor),
    );
    if (found.length === 0) {
      const name = `fdset-id:${set}${descriptor === undefined ? "" : `, fd:${descriptor}`}`;
      throw descriptorErrors.ERR_CPR_FD_NOT_FOUND({ name });
    }
    for (const member of found) {
      member.removed = true;
      this.#settle(set, member);
    }
  }

  /** `query-fdsets`: the highest number first, as in QEMU. */
  sets(): readonly DescriptorSet[] {
    return [...this.#sets]
      .map(([id, members]) => ({
        id,
        descriptors: members
          .filter(({ removed }) => !removed)
          .map(({ descriptor, opaque }) => ({ descriptor, ...(opaque === undefined ? {} : { opaque }) })),
      }))
      .sort((left, right) => right.id - left.id);
  }

  /**
   * `getfd`: gives a descriptor a name. One that has the name already is closed.
   *
   * @throws {CprError} ERR_CPR_FD_NAME; the descriptor is not the registry's then.
   */
  name(name: string, descriptor: number): void {
    if (/^\d/.test(name)) {
      throw descriptorErrors.ERR_CPR_FD_NAME({ name });
    }
    const before = this.#named.get(name);
    this.#named.set(name, descriptor);
    if (before !== undefined) {
      closeSync(before);
    }
  }

  /** `closefd` @throws {CprError} ERR_CPR_FD_NOT_FOUND */
  close(name: string): void {
    const descriptor = this.#named.get(name);
    if (descriptor === undefined) {
      throw descriptorErrors.ERR_CPR_FD_NOT_FOUND({ name });
    }
    this.#named.delete(name);
    closeSync(descriptor);
  }

  take(name: string, uri: string): number {
    const descriptor = this.#named.get(name);
    if (descriptor === undefined) {
      throw descriptorErrors.ERR_CPR_FD_UNKNOWN({ name, uri });
    }
    this.#named.delete(name);
    return descriptor;
  }

  lend(set: number, { access, direct, uri }: DescriptorUse): LentDescriptor {
    const members = this.#sets.get(set);
    if (members === undefined) {
      throw descriptorErrors.ERR_CPR_FDSET_UNKNOWN({ set, uri });
    }
    const flags = (access === "read" ? constants.O_RDONLY : constants.O_WRONLY) | (direct ? constants.O_DIRECT : 0);
    const mask = accessModeMask | constants.O_DIRECT;
    const member = members.findLast((each) => !each.removed && (flagsOf(each.descriptor) & mask) === flags);
    if (member === undefined) {
      throw descriptorErrors.ERR_CPR_FDSET_FLAGS({ set, flags, uri });
    }
    member.uses += 1;
    let lent = true;
    return {
      descriptor: member.descriptor,
      release: () => {
        if (lent) {
          lent = false;
          member.uses -= 1;
          this.#settle(set, member);
        }
      },
    };
  }

  /** Closes a member that was removed, unless somebody uses it; a set without members is gone. */
  #settle(set: number, member: Member): void {
    const members = this.#sets.get(set);
    if (members === undefined || !member.removed || member.uses > 0) {
      return;
    }
    members.splice(members.indexOf(member), 1);
    if (members.length === 0) {
      this.#sets.delete(set);
    }
    closeSync(member.descriptor);
  }
}

/** fcntl.h O_ACCMODE */
const accessModeMask = 3;

/** The flags with which a descriptor was opened (proc_pid_fdinfo(5)). */
function flagsOf(descriptor: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1");
  return Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? "", 8);
}
