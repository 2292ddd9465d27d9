import { machineErrors } from "./errors/machine-errors.ts";

const suffixes = "BKMGTPE";

/**
 * Reads a size as QEMU does (`qemu_strtosz`): decimal with an optional fraction and one of the suffixes B K M G T P E,
 * each 1024 times the one before, or hexadecimal without a suffix. Case does not matter.
 *
 * @param unit - the suffix that is meant if there is none.
 * @returns bytes
 * @throws {CprError} ERR_CPR_SIZE
 */
export function parseMemorySize(text: string, unit: "B" | "K" | "M" | "G" = "B"): number {
  const hexadecimal = /^0x[0-9a-f]+$/i.test(text);
  const match = hexadecimal ? undefined : /^(\d+(?:\.\d+)?|\.\d+)([bkmgtpe])?$/i.exec(text);
  if (match === null) {
    throw machineErrors.ERR_CPR_SIZE({ text });
  }
  const [, digits = text, suffix = hexadecimal ? "B" : unit] = match ?? [];
  const bytes = Math.floor(Number(digits) * 1024 ** suffixes.indexOf(suffix.toUpperCase()));
  if (!Number.isSafeInteger(bytes) || (suffix.toUpperCase() === "B" && digits.includes("."))) {
    throw machineErrors.ERR_CPR_SIZE({ text });
  }
  return bytes;
}

const amounts = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** An amount of bytes for people: three digits and a unit. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < amounts.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Number.isInteger(value) ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${amounts[unit]}`;
}
