/** Ports through which a PC is reset (Intel 82371AB data sheet §4.2.3 and §8.2; IBM PS/2 for port 0x92). */
export const ports = { resetControl: 0xcf9, systemControl: 0x92 } as const;

/** Port 0xcf9. A reset happens when `reset` rises. */
export const resetControl = { hard: 0x02, reset: 0x04, full: 0x08, writable: 0x0e } as const;

/** Port 0x92. */
export const systemControl = { fastReset: 0x01, a20: 0x02, writable: 0xdb } as const;
