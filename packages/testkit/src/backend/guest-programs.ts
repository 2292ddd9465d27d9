/** Where programs are loaded; CS has base 0. */
export const origin = 0x1000;
/** The I/O port that programs report to. */
export const reportPort = 0x80;
/** The I/O ports that programs read, four of them. */
export const questionPort = 0x90;
/** Guest-physical address of a doubleword that programs and the suite share. */
export const mailbox = 0x2000;
/** Where the program of the second vCPU is loaded, and the byte by which the two vCPUs hand a turn to each other. */
export const secondOrigin = 0x3000;
export const baton = 0x2010;
/** The interrupt that programs handle, and what the handler reports. */
export const interruptVector = 0x20;
export const interruptReport = 0x99;

/**
 * Programs for a vCPU in real mode, as bytes with their assembly beside them. They use no more than a handful of
 * instructions, so that a backend can run the suite long before it is complete.
 */
export const guestPrograms = {
  /** Reports 1 to 10. */
  countsToTen: [
    ...[0xb0, 0x01], //       mov al, 1
    ...[0xe6, reportPort], // again: out 0x80, al
    ...[0xfe, 0xc0], //       inc al
    ...[0x3c, 0x0b], //       cmp al, 11
    ...[0x75, 0xf8], //       jne again
    ...[0xfa], //             cli
    ...[0xf4], //             stop: hlt
    ...[0xeb, 0xfd], //       jmp stop
  ],

  /** Reads the question ports in each width and reports what it read in the same width. */
  echoes: [
    ...[0xba, questionPort, 0x00, 0xec, 0xba, reportPort, 0x00, 0xee], // mov dx; in al, dx; mov dx; out dx, al
    ...[0xba, questionPort, 0x00, 0xed, 0xba, reportPort, 0x00, 0xef], // with ax
    ...[0xba, questionPort, 0x00, 0x66, 0xed, 0xba, reportPort, 0x00, 0x66, 0xef], // with eax
    ...[0xfa, 0xf4, 0xeb, 0xfd], // cli; stop: hlt; jmp stop
  ],

  /** Stores 0x1234 in the mailbox, reports its third byte. */
  usesMailbox: [
    ...[0xc7, 0x06, 0x00, 0x20, 0x34, 0x12], // mov word [0x2000], 0x1234
    ...[0xa0, 0x02, 0x20], //                   mov al, [0x2002]
    ...[0xe6, reportPort], //                   out 0x80, al
    ...[0xfa, 0xf4, 0xeb, 0xfd], //             cli; stop: hlt; jmp stop
  ],

  /** Writes 0x77 to guest-physical address 0x100000 and reports the byte that it reads at 0x100004. */
  reachesBeyondRam: [
    ...[0xb8, 0xff, 0xff], //             mov ax, 0xffff
    ...[0x8e, 0xd8], //                   mov ds, ax
    ...[0xc6, 0x06, 0x10, 0x00, 0x77], // mov byte [0x10], 0x77
    ...[0xa0, 0x14, 0x00], //             mov al, [0x14]
    ...[0xe6, reportPort], //             out 0x80, al
    ...[0xfa, 0xf4, 0xeb, 0xfd], //       cli; stop: hlt; jmp stop
  ],

  /** Reports 1, halts with interrupts enabled, reports 2 when it goes on, and begins again. */
  waitsForInterrupts: [
    ...[0xb8, 0x00, 0x00], // mov ax, 0
    ...[0x8e, 0xd0], //       mov ss, ax
    ...[0xbc, 0x00, 0x80], // mov sp, 0x8000
    ...[0xfb], //             sti
    ...[0xb0, 0x01, 0xe6, reportPort], // again: mov al, 1; out 0x80, al
    ...[0xf4], //             hlt
    ...[0xb0, 0x02, 0xe6, reportPort], // mov al, 2; out 0x80, al
    ...[0xeb, 0xf5], //       jmp again
  ],

  /** Counts in the mailbox for ever, with interrupts disabled. */
  countsForEver: [
    ...[0xfa], //                         cli
    ...[0x66, 0xff, 0x06, 0x00, 0x20], // again: inc dword [0x2000]
    ...[0xeb, 0xf9], //                   jmp again
  ],

  /** Runs on the spot for ever. */
  spins: [
    ...[0xfa], //       cli
    ...[0xeb, 0xfe], // again: jmp again
  ],

  /** Faults in protected mode with an interrupt table that has no entry, not even for the double fault. */
  triplyFaults: [
    ...[0x0f, 0x01, 0x1e, 0x00, 0x20], // lidt [0x2000], which is zero
    ...[0x0f, 0x20, 0xc0], //             mov eax, cr0
    ...[0x0c, 0x01], //                   or al, 1
    ...[0x0f, 0x22, 0xc0], //             mov cr0, eax
    ...[0xb8, 0xf8, 0xff], //             mov ax, 0xfff8
    ...[0x8e, 0xd8], //                   mov ds, ax: no such descriptor
    ...[0xeb, 0xfe], //                   again: jmp again
  ],

  /** Hands the baton over so many times, and reports 0x55 when it has come back each time. */
  handsOver: (times: number) => [
    ...[0x66, 0xb9, ...littleEndian(times)], //                mov ecx, times
    ...[0xc6, 0x06, ...littleEndian16(baton), 0x01], //        again: mov byte [baton], 1
    ...[0xf3, 0x90], //                                        wait: pause
    ...[0xa0, ...littleEndian16(baton)], //                    mov al, [baton]
    ...[0x3c, 0x02], //                                        cmp al, 2
    ...[0x75, 0xf7], //                                        jne wait
    ...[0x66, 0x49], //                                        dec ecx
    ...[0x75, 0xee], //                                        jnz again
    ...[0xb0, 0x55, 0xe6, reportPort, 0xfa, 0xf4, 0xeb, 0xfd], // mov al, 0x55; out 0x80, al; cli; stop: hlt; jmp stop
  ],

  /** The other side of `handsOver`. */
  handsBack: [
    ...[0xf3, 0x90], //                                 wait: pause
    ...[0xa0, ...littleEndian16(baton)], //             mov al, [baton]
    ...[0x3c, 0x01], //                                 cmp al, 1
    ...[0x75, 0xf7], //                                 jne wait
    ...[0xc6, 0x06, ...littleEndian16(baton), 0x02], // mov byte [baton], 2
    ...[0xeb, 0xf0], //                                 jmp wait
  ],

  /** As `countsForEver`, beside the mailbox. */
  countsBeside: [
    ...[0xfa], //                         cli
    ...[0x66, 0xff, 0x06, 0x04, 0x20], // again: inc dword [0x2004]
    ...[0xeb, 0xf9], //                   jmp again
  ],

  /** Reports in 32 bits what {@link hashOf} gives for that many rounds. */
  hashes: (rounds: number) => [
    ...[0x66, 0xb9, ...littleEndian(rounds)], //           mov ecx, rounds
    ...[0x66, 0xb8, 0x00, 0x00, 0x00, 0x00], //            mov eax, 0
    ...[0x66, 0x01, 0xc8], //                              again: add eax, ecx
    ...[0x66, 0x69, 0xc0, ...littleEndian(multiplier)], // imul eax, eax, multiplier
    ...[0x66, 0x49], //                                    dec ecx
    ...[0x75, 0xf2], //                                    jnz again
    ...[0xba, reportPort, 0x00, 0x66, 0xef], //            mov dx, 0x80; out dx, eax
    ...[0xfa, 0xf4, 0xeb, 0xfd], //                        cli; stop: hlt; jmp stop
  ],
} as const;

/** Reports {@link interruptReport} and goes back. */
export const interruptHandler = [
  ...[0x50], //                               push ax
  ...[0xb0, interruptReport, 0xe6, reportPort], // mov al, 0x99; out 0x80, al
  ...[0x58], //                               pop ax
  ...[0xcf], //                               iret
];

const multiplier = 0x0100_0193;

/** What the program `hashes` reports. */
export function hashOf(rounds: number): number {
  let hash = 0;
  for (let count = rounds; count > 0; count--) {
    hash = Math.imul(hash + count, multiplier);
  }
  return hash >>> 0;
}

function littleEndian16(value: number): number[] {
  return [value & 0xff, value >>> 8];
}

function littleEndian(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}
