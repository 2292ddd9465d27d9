/** Where the serial ports are: I/O port and ISA interrupt, `com1` first. */
export const serialPorts = [
  { id: "com1", port: 0x3f8, irq: 4 },
  { id: "com2", port: 0x2f8, irq: 3 },
  { id: "com3", port: 0x3e8, irq: 4 },
  { id: "com4", port: 0x2e8, irq: 3 },
] as const;

/** Interrupts of the devices that have a fixed one. The SCI is a level, all others are edges. */
export const interrupts = { timer: 0, keyboard: 1, clock: 8, systemControl: 9 } as const;

/** The IOAPIC's pin of the timer: its interrupt 0 arrives at pin 2, which the MADT says. */
export const timerPin = 2;

/** Guest-physical addresses of the interrupt controllers. */
export const apicAddress = { local: 0xfee0_0000, io: 0xfec0_0000, size: 0x1000 } as const;

/** I/O ports of the ACPI fixed hardware, and of the reset register. */
export const powerPort = { events: 0x600, control: 0x604, timer: 0x608, generalEvents: 0x620, reset: 0xcf9 } as const;

/** Where firmware's tables are: RAM that the memory map reserves. */
export const firmwareArea = { address: 0xe_0000, size: 0x2_0000 } as const;

/**
 * Where the FACS is, the one table that the guest writes to: a guest that sleeps leaves there where it wants to wake. It never moves,
 * because a guest keeps the tables that it was booted with.
 */
export const facsAddress = firmwareArea.address + 0x40;
export const facsSize = 64;

/**
 * Where the generation identifier is, in a page that nothing else is in, and the general-purpose event by which the guest is told that it
 * has changed. Neither ever changes, as with the FACS.
 */
export const generationIdentifier = { address: firmwareArea.address + 0x1_f000, event: 5 } as const;

/** The port at which a guest tells that it has panicked. */
export const panicPort = 0x505;

/** The PCI bus: the first of the four interrupts of its slots, and the addresses for ranges of its devices. */
export const pciBus = { firstInterrupt: 16, windowBase: 0xe000_0000, windowSize: 0x1ec0_0000 } as const;

/** The port that software writes to for a short delay, or to show how far it got: nothing of the board listens. */
export const delayPort = 0x80;

const mebibyte = 0x10_0000;

/** The least RAM that holds the first megabyte and something to boot. */
export const minimumRam = 2 * mebibyte;
