/**
 * The helpers: instructions that run in TypeScript, because they are rare, bulky or privileged. The decoder emits
 * `helper` operations with these numbers; `system/` and `float/` implement them.
 *
 * Conventions, unless an entry says otherwise: `scale` is the operand size in bytes (1, 2, 4, 8); `destination` and
 * `source` are slots; a memory operand's linear address was put into the effective address slot by an `address-…`
 * operation before; `immediate` is an immediate operand. `displacement` is the instruction's length in bytes, so the
 * next instruction's RIP is block RIP + instruction offset + displacement; a helper that returns "jump" or "leave"
 * sets `ripSlot`, and the decoder ends the block after a helper that is in {@link endingHelpers}.
 */
export const helperNames = [
  // Stack and near control transfers outside 64-bit mode, and the odd ones in it. Stack size follows SS.B (or 64-bit mode).
  /** Pushes `scale` bytes of s. */
  "push",
  /** Pops `scale` bytes into d (partial write as a move would do it). */
  "pop",
  "push-all",
  "pop-all",
  "push-flags",
  "pop-flags",
  /** Pushes the selector of segment register number `source`. */
  "push-segment",
  /** Pops into segment register number `destination`. */
  "pop-segment",
  /** Near call: immediate is the target's distance from the block's RIP; IP is cut to `scale` bytes. */
  "call-near",
  /** Near call to s. */
  "call-indirect",
  /** Near jump to s, cut to `scale` bytes. */
  "jump-indirect",
  /** Near jump that no operation can do (operand size 16 in 64-bit mode, or too far): immediate as for call-near, cut to `scale` bytes. */
  "jump-near",
  /** Near return; immediate bytes are released. */
  "return-near",
  /** LOOP family with 16 or 32 bit address size: `source` is the condition (0 NE, 1 E, 2 plain, 3 CX zero), `destination` the address size in bytes, immediate the target's distance from the block's RIP. */
  "loop",
  /** As jump-near, with a condition in `source` (0 to 15). */
  "jump-if-near",
  /** ENTER: immediate = size | level << 16. */
  "enter",
  "leave",
  "bound",

  // Far transfers, interrupts, system calls.
  /** immediate = offset | selector << 32. */
  "jump-far",
  "call-far",
  /** Operand in memory. */
  "jump-far-memory",
  "call-far-memory",
  /** immediate bytes are released. */
  "return-far",
  "interrupt-return",
  /** INT n: vector in immediate. */
  "software-interrupt",
  "breakpoint",
  "debug-trap",
  "interrupt-on-overflow",
  "syscall",
  "sysret",
  "sysenter",
  "sysexit",
  /** Raises the exception whose vector is in immediate (#UD for an undefined instruction, #GP for one that is too long …). Error code 0 where one belongs. */
  "raise",

  // Segments and descriptor tables.
  /** Loads segment register number `destination` from s. */
  "load-segment",
  /** d = selector of segment register number `source`; to memory if d is 0 (2 bytes at the effective address), else by operand size. */
  "store-segment",
  /** LDS, LES, LFS, LGS, LSS: segment register number in `source`, register slot in d. */
  "load-far-pointer",
  "load-gdt",
  "load-idt",
  "store-gdt",
  "store-idt",
  /** s is a register or temporary slot (16 bits). */
  "load-ldt",
  "load-task-register",
  /** To d (register slot, by operand size), or memory if d is 0. */
  "store-ldt",
  "store-task-register",
  "load-access-rights",
  "load-segment-limit",
  "verify-read",
  "verify-write",
  "adjust-privilege-level",
  "load-machine-status",
  /** As store-ldt. */
  "store-machine-status",
  "clear-task-switched",
  "swap-gs",
  "read-fs-base",
  "read-gs-base",
  "write-fs-base",
  "write-gs-base",

  // Control, debug, machine.
  /** Control register number in `source` (`destination` for the write), the other is a slot. */
  "read-control-register",
  "write-control-register",
  "read-debug-register",
  "write-debug-register",
  "invalidate-page",
  "invalidate-process-context",
  "invalidate-caches",
  "halt",
  "clear-interrupts",
  "set-interrupts",
  "read-msr",
  "write-msr",
  "read-tsc",
  "read-tsc-and-processor",
  "read-performance-counter",
  "cpuid",
  /** Port in s (DX) or immediate if s is 0. */
  "port-in",
  "port-out",
  "monitor",
  "monitor-wait",
  "read-xcr",
  "write-xcr",
  /** d = register; `source` 0: RDRAND, 1: RDSEED. */
  "read-random",
  "pause",

  // Strings: `scale` element size; `auxiliary` is taken, so: `destination` = address size in bytes, `source` = repeat
  // prefix (0 none, 1 REP/REPE, 2 REPNE), `index` = number of the source segment register. Interruptible: at most one page's worth of
  // elements at a time; then RIP stays at the instruction ("jump" to itself).
  "string-move",
  "string-store",
  "string-load",
  "string-compare",
  "string-scan",
  "string-in",
  "string-out",

  // Odd integer instructions.
  "compare-exchange8b",
  "compare-exchange16b",
  "ascii-adjust-add",
  "ascii-adjust-subtract",
  /** Base in immediate. */
  "ascii-adjust-multiply",
  "ascii-adjust-divide",
  "decimal-adjust-add",
  "decimal-adjust-subtract",
  "set-al-from-carry",
  /** CRC32 r, r/m: d = register, s = operand slot, `scale` its size. */
  "crc32",

  // x87, MMX, state.
  /** Opcode byte (0xd8 to 0xdf) in bits 15:8 of immediate, ModRM in bits 7:0. */
  "x87-register",
  "x87-memory",
  "wait",
  /**
   * An instruction on MMX registers (EMMS has its own helper), also those that move or convert between MMX and XMM registers: MOVQ2DQ,
   * MOVDQ2Q, CVTPI2PS … `source`: opcode | mandatory prefix (0, 0x66, 0xf2 or 0xf3) << 8 | map (0: 0F, 1: 0F 38, 2: 0F 3A) << 16.
   * `destination`: ModRM | low four bits of REX << 8. `immediate`: the 8-bit immediate, 0 if there is none. The address of an operand in
   * memory (DS:RDI of MASKMOVQ too) is in the effective address slot. What is undefined raises #UD; the decoder need not know.
   */
  "mmx",
  "empty-mmx-state",
  "save-fx",
  "restore-fx",
  "save-extended",
  "save-extended-optimized",
  "restore-extended",
  "load-mxcsr",
  "store-mxcsr",
  /** A vector instruction that is done in TypeScript: vector operation number in immediate, slots as for `vector`, 8 bit immediate in `base`. */
  "vector-rare",
  /** Not emitted by the decoder: a `vector` operation calls it, with its fields as they are, when the result or the MXCSR flags need more care than WebAssembly can give. */
  "vector-exact",
] as const;

/** Name of a helper. */
export type HelperName = (typeof helperNames)[number];

const numbers = new Map<string, number>(helperNames.map((name, index) => [name, index]));

/** The number that stands for a helper in the `auxiliary` field. */
export function helperNumber(name: HelperName): number {
  return numbers.get(name) as number;
}

/** Helpers after which the decoder ends the block (an `end` follows all but "raise", for the answer "next"): they set RIP, or change what the following bytes mean or whether an interrupt may come. */
export const endingHelpers: ReadonlySet<HelperName> = new Set<HelperName>([
  "pop-flags",
  "pop-segment",
  "call-near",
  "call-indirect",
  "jump-indirect",
  "jump-near",
  "return-near",
  "loop",
  "jump-if-near",
  "jump-far",
  "call-far",
  "jump-far-memory",
  "call-far-memory",
  "return-far",
  "interrupt-return",
  "software-interrupt",
  "breakpoint",
  "debug-trap",
  "interrupt-on-overflow",
  "syscall",
  "sysret",
  "sysenter",
  "sysexit",
  "raise",
  "load-segment",
  "load-far-pointer",
  "load-machine-status",
  "clear-task-switched",
  "write-control-register",
  "write-debug-register",
  "invalidate-page",
  "invalidate-process-context",
  "halt",
  "set-interrupts",
  "write-msr",
  "monitor-wait",
  "write-xcr",
  "string-move",
  "string-store",
  "string-load",
  "string-compare",
  "string-scan",
  "string-in",
  "string-out",
  "port-in",
  "port-out",
  "write-fs-base",
  "write-gs-base",
  "swap-gs",
]);
