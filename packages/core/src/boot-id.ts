import { readFileSync } from "node:fs";

/** Stands for the boot of a host that does not tell it. */
const unknownBoot = "00000000-0000-0000-0000-000000000000";

/** Whether a text can name a boot. */
export function isBootId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

/** A UUID that the host's kernel has chosen when it began, and that no other boot of this or another host has. */
export function hostBootId(): string {
  try {
    const text = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    return isBootId(text) ? text : unknownBoot;
  } catch {
    return unknownBoot;
  }
}

/** Whether two boots are known to be different ones. */
export function bootsDiffer(first: string, second: string): boolean {
  return first !== second && first !== unknownBoot && second !== unknownBoot;
}
