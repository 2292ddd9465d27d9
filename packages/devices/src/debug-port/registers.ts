/** I/O ports of Bochs' debug console and QEMU's `isa-debug-exit`. */
export const ports = { console: 0xe9, exit: 0xf4 } as const;
