import { localApicRegister as register } from "@cpr/core";

/** Registers that are write-only in x2APIC mode, or not there at all (Intel SDM Vol. 3A table 11-6). */
const unreadable: ReadonlySet<number> = new Set([
  register.endOfInterrupt,
  register.selfInterrupt,
  register.commandHigh,
  register.destinationFormat,
  register.arbitrationPriority,
]);

/** Registers that are read-only in x2APIC mode, or not there at all, although xAPIC mode has them writable. */
const unwritable: ReadonlySet<number> = new Set([
  register.id,
  register.logicalDestination,
  register.destinationFormat,
  register.commandHigh,
]);

/** Whether reading the MSR of a register does not fault for the register's own sake. */
export function isX2apicReadable(offset: number): boolean {
  return !unreadable.has(offset);
}

/** Whether writing a value to the MSR of a register raises #GP (Intel SDM Vol. 3A §11.12.1.3). */
export function x2apicWriteFaults(offset: number, value: bigint): boolean {
  switch (offset) {
    case register.endOfInterrupt:
    case register.errorStatus:
      return value !== 0n;
    case register.taskPriority:
    case register.selfInterrupt:
      return value > 0xffn;
    default:
      return value > 0xffff_ffffn || unwritable.has(offset);
  }
}
