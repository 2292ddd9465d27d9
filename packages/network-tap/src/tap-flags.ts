/** Kinds of devices and what frames begin with (linux/if_tun.h, TUNSETIFF). */
export const tapFlag = { tap: 0x2, noPacketInformation: 0x1000, virtioHeader: 0x4000 } as const;

/** What may come unfinished (linux/if_tun.h, TUNSETOFFLOAD). */
export const offloadFlag = { checksum: 0x1, tso4: 0x2, tso6: 0x4, ecn: 0x8 } as const;
