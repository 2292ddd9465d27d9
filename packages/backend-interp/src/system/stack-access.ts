import { currentOperationAt, registersAt, zeroSlot } from "../layout.ts";
import { field, operationKind, operationSize } from "../operations.ts";
import type { CoreMemory } from "../processor-interface.ts";
import { register } from "./architecture.ts";

/** Operations of the core that access the stack without naming it. */
const stackKinds: ReadonlySet<number> = new Set(
  (["push64", "pop64", "call64", "return64", "call-indirect64"] as const).map(operationKind),
);
const helperKind = operationKind("helper");
const addressKinds: ReadonlySet<number> = new Set(
  (["address-base", "address-full", "address-legacy"] as const).map(operationKind),
);

/** Whether the operation that executes in 64-bit mode accesses memory by the stack segment: what faults is then #SS, not #GP. */
export function accessesStack({ u32, u16 }: CoreMemory): boolean {
  /** By RSP or RBP, without FS or GS. */
  const isByStack = (at: number): boolean => {
    const base = u32[(at + field.base) >> 2] as number;
    const named = base === registersAt + register.rsp * 8 || base === registersAt + register.rbp * 8;
    return named && u32[(at + field.segment) >> 2] === zeroSlot;
  };
  const operation = u32[currentOperationAt >> 2] as number;
  if (operation === 0) return false;
  const kind = u16[(operation + field.kind) >> 1] as number;
  if (kind === helperKind) {
    // A helper's memory operand is that of the `address-…` before it.
    const before = operation - operationSize;
    const offset = (at: number): number | undefined => u16[(at + field.instructionOffset) >> 1];
    if (addressKinds.has(u16[(before + field.kind) >> 1] as number) && offset(before) === offset(operation)) {
      return isByStack(before);
    }
  }
  return stackKinds.has(kind) || isByStack(operation);
}
