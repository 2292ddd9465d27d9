import { type OperationName, operationKind, operationNames } from "../operations.ts";

/** Kinds of an operation by operand size in bytes (1, 2, 4, 8, 16); `absent` where it does not have that size. */
export type SizedKinds = Uint16Array;
/** {@link SizedKinds} by address form: base, full, legacy. */
export type FormedKinds = readonly SizedKinds[];

/** Not a kind: a table row asks for an operation that does not exist. The writer refuses it. */
export const absent = 0xffff;

const known: ReadonlySet<string> = new Set(operationNames);

function kindIfKnown(name: string): number {
  return known.has(name) ? operationKind(name as OperationName) : absent;
}

/** The kinds `name8`, `name16`, …, with `suffix` appended. */
function sizedKinds(name: string, suffix = ""): SizedKinds {
  const kinds = new Uint16Array(17).fill(absent);
  for (const size of [1, 2, 4, 8, 16]) kinds[size] = kindIfKnown(`${name}${size * 8}${suffix}`);
  if (kinds.every((kind) => kind === absent)) throw new RangeError(`no operation is called ${name}`);
  return kinds;
}

/** The kinds of an operation between slots, such as "add". */
export function sized(name: string): SizedKinds {
  return sizedKinds(name);
}

/** The kinds of an operation on memory, such as "load". */
export function formed(name: string): FormedKinds {
  return [sizedKinds(name, "-base"), sizedKinds(name, "-full"), sizedKinds(name, "-legacy")];
}

/** A kind without sizes. */
export const kind = operationKind;

export const load = formed("load");
export const loadAligned = formed("load-aligned");
export const store = formed("store");
export const storeAligned = formed("store-aligned");
export const loadModify = formed("load-modify");
export const storeBack = sized("store-back");
export const move = sized("move");
export const lea = sized("lea");
/** `address-…`, by form. */
export const addressKinds = [kind("address-base"), kind("address-full"), kind("address-legacy")] as const;

/** Kinds after which the code that follows may have been overwritten: stores and helpers. By kind, 1 or 0. */
export const mayWrite = Uint8Array.from(operationNames, (name) =>
  name.startsWith("store") || name === "helper" || name.startsWith("push") || name.startsWith("call") ? 1 : 0,
);
