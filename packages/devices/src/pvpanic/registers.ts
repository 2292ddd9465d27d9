/** The port (QEMU docs/specs/pvpanic.rst). */
export const panicPort = 0x505;

/** The event: the guest has panicked. */
export const panicked = 0x01;
