import { readFileSync } from "node:fs";
import { type ErrorCategory, replaceFile } from "@cpr/core";

/** What was done with one VM. */
export interface VmReport {
  readonly name: string;
  /** `skipped`: there was nothing to do, and `note` says why. */
  readonly outcome: "saved" | "loaded" | "started" | "skipped" | "failed";
  /** What a person should know besides, a sentence or so. */
  readonly note?: string;
  /** How the VM is now, in QEMU's words. */
  readonly status?: string;
  /** When the work on this VM began (ISO 8601), and how long it took. */
  readonly begun: string;
  readonly milliseconds: number;
  /** Parts of that time, in milliseconds, by name. */
  readonly phases?: Readonly<Record<string, number>>;
  /** How long the guest had stood still when its checkpoint was complete, in milliseconds. */
  readonly downtime?: number;
  /** Bytes of RAM. */
  readonly ram?: { readonly copied: number; readonly inPlace: number };
  readonly error?: {
    readonly code: string;
    readonly category: ErrorCategory;
    readonly message: string;
    readonly hint?: string;
  };
}

/** What a command did with the registered VMs. */
export interface HostReport {
  readonly version: 1;
  readonly action: HostAction;
  /** What VMs were saved for. */
  readonly purpose?: string;
  readonly begun: string;
  readonly milliseconds: number;
  /** False while the command is at work, and if it was ended before it was done. */
  readonly complete: boolean;
  /** Those that were done, in the order in which they were. */
  readonly vms: readonly VmReport[];
}

/** What can be done with all registered VMs. */
export type HostAction = "save" | "load" | "start";

/** The sum of a report, for people. */
export function summaryOf({ action, begun, milliseconds, complete, vms }: HostReport): string {
  const outcomes = ["saved", "loaded", "started", "skipped", "failed"] as const;
  const counts = outcomes.flatMap((outcome) => {
    const count = vms.filter((vm) => vm.outcome === outcome).length;
    return count === 0 ? [] : [`${count} ${outcome}`];
  });
  const end = complete ? "" : "; the command was ended before it was done";
  const sum = counts.length === 0 ? "nothing to do" : counts.join(", ");
  return `${action} at ${begun}: ${sum} in ${Math.round(milliseconds)} ms${end}`;
}

/** Keeps a report in a file, if that can be written: a full disk is no reason to leave VMs alone. */
export function writeReport(path: string, report: HostReport | VmReport): void {
  try {
    replaceFile(path, `${JSON.stringify(report, undefined, 2)}\n`);
  } catch {
    // Whoever gave the command is told all of it anyway.
  }
}

/** A report that was kept in a file; undefined if there is none. */
export function readReport<T extends HostReport | VmReport>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined;
  }
}
