import type { GuestFault } from "../processor-interface.ts";

/**
 * The fault that is thrown through WebAssembly: one object a processor, not an `Error`, because a stack trace would
 * cost a hundred times what the fault does.
 */
export class PendingFault implements GuestFault {
  readonly guestFault = true;
  vector = 0;
  errorCode: number | undefined = undefined;
}

/** Exceptions that come with an error code (Intel SDM Vol. 3A table 6-1). */
export function hasErrorCode(vector: number): boolean {
  return vector === 8 || (vector >= 10 && vector <= 14) || vector === 17 || vector === 21;
}
