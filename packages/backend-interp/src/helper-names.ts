/**
 * The helpers: instructions that run in TypeScript, because they are rare, bulky or privileged. The decoder emits `helper`
 * operations with these numbers; `system/` and `float/` implement them. Behind each name stands whether its block ends with it.
 *
 * Conventions, unless an entry says otherwise: `scale` is the operand size in bytes (1, 2, 4, 8); `destination` and
 * `source` are slots; a memory operand's linear address was put into the effective address slot by an `address-…`
 * operation before; `immediate` is an immediate operand. `displacement` is the instruction's length in bytes, so the
 * next instruction's RIP is block RIP + instruction offset + displacement; a helper that returns "jump" or "leave"
 * sets `ripSlot`, and the decoder ends the block after a helper that is in {@link endingHelpers}.
 */
const helperTable = {
  // Stack and near control transfers outside 64-bit mode, and the odd ones in it. Stack size follows SS.B (or 64-bit mode).
  /** Pushes `scale` bytes of s. */
  push: "goes-on",
  /** Pops `scale` bytes into d (partial write as a move would do it). */
  pop: "goes-on",
  "push-all": "goes-on",
  "pop-all": "goes-on",
  "push-flags": "goes-on",
  "pop-flags": "ends",
  /** Pushes the selector of segment register number `source`. */
  "push-segment": "goes-on",
  /** Pops into segment register number `destination`. */
  "pop-segment": "ends",
  /** Near call: immediate is the target's distance from the block's RIP; IP is cut to `scale` bytes. */
  "call-near": "ends",
  /** Near call to s. */
  "call-indirect": "ends",
  /** Near jump to s, cut to `scale` bytes. */
  "jump-indirect": "ends",
  /** Near jump that no operation can do (operand size 16 in 64-bit mode, or too far): immediate as for call-near, cut to `scale` bytes. */
  "jump-near": "ends",
  /** Near return; immediate bytes are released. */
  "return-near": "ends",
  /** LOOP family with 16 or 32 bit address size: `source` is the condition (0 NE, 1 E, 2 plain, 3 CX zero), `destination` the address size in bytes, immediate the target's distance from the block's RIP. */
  loop: "ends",
  /** As jump-near, with a condition in `source` (0 to 15). */
  "jump-if-near": "ends",
  /** ENTER: immediate = size | level << 16. */
  enter: "goes-on",
  leave: "goes-on",
  bound: "goes-on",

  // Far transfers, interrupts, system calls.
  /** immediate = offset | selector << 32. */
  "jump-far": "ends",
  "call-far": "ends",
  /** Operand in memory. */
  "jump-far-memory": "ends",
  "call-far-memory": "ends",
  /** immediate bytes are released. */
  "return-far": "ends",
  "interrupt-return": "ends",
  /** INT n: vector in immediate. */
  "software-interrupt": "ends",
  breakpoint: "ends",
  "debug-trap": "ends",
  "interrupt-on-overflow": "ends",
  syscall: "ends",
  sysret: "ends",
  sysenter: "ends",
  sysexit: "ends",
  /** Raises the exception whose vector is in immediate (#UD for an undefined instruction, #GP for one that is too long …). Error code 0 where one belongs. */
  raise: "ends",

  // Segments and descriptor tables.
  /** Loads segment register number `destination` from s. */
  "load-segment": "ends",
  /** d = selector of segment register number `source`; to memory if d is 0 (2 bytes at the effective address), else by operand size. */
  "store-segment": "goes-on",
  /** LDS, LES, LFS, LGS, LSS: segment register number in `source`, register slot in d. */
  "load-far-pointer": "ends",
  "load-gdt": "goes-on",
  "load-idt": "goes-on",
  "store-gdt": "goes-on",
  "store-idt": "goes-on",
  /** s is a register or temporary slot (16 bits). */
  "load-ldt": "goes-on",
  "load-task-register": "goes-on",
  /** To d (register slot, by operand size), or memory if d is 0. */
  "store-ldt": "goes-on",
  "store-task-register": "goes-on",
  "load-access-rights": "goes-on",
  "load-segment-limit": "goes-on",
  "verify-read": "goes-on",
  "verify-write": "goes-on",
  "adjust-privilege-level": "goes-on",
  "load-machine-status": "ends",
  /** As store-ldt. */
  "store-machine-status": "goes-on",
  "clear-task-switched": "ends",
  "swap-gs": "ends",
  "read-fs-base": "goes-on",
  "read-gs-base": "goes-on",
  "write-fs-base": "ends",
  "write-gs-base": "ends",

  // Control, debug, machine.
  /** Control register number in `source` (`destination` for the write), the other is a slot. */
  "read-control-register": "goes-on",
  "write-control-register": "ends",
  "read-debug-register": "goes-on",
  "write-debug-register": "ends",
  "invalidate-page": "ends",
  "invalidate-process-context": "ends",
  "invalidate-caches": "goes-on",
  halt: "ends",
  "clear-interrupts": "goes-on",
  "set-interrupts": "ends",
  "read-msr": "goes-on",
  "write-msr": "ends",
  "read-tsc": "goes-on",
  "read-tsc-and-processor": "goes-on",
  "read-performance-counter": "goes-on",
  cpuid: "goes-on",
  /** Port in s (DX) or immediate if s is 0. */
  "port-in": "ends",
  "port-out": "ends",
  monitor: "goes-on",
  "monitor-wait": "ends",
  "read-xcr": "goes-on",
  "write-xcr": "ends",
  /** d = register; `source` 0: RDRAND, 1: RDSEED. */
  "read-random": "goes-on",
  pause: "goes-on",

  // Strings: `scale` element size; `auxiliary` is taken, so: `destination` = address size in bytes, `source` = repeat
  // prefix (0 none, 1 REP/REPE, 2 REPNE), `index` = number of the source segment register. Interruptible: at most one page's worth of
  // elements at a time; then RIP stays at the instruction ("jump" to itself).
  "string-move": "ends",
  "string-store": "ends",
  "string-load": "ends",
  "string-compare": "ends",
  "string-scan": "ends",
  "string-in": "ends",
  "string-out": "ends",

  // Odd integer instructions.
  "compare-exchange8b": "goes-on",
  "compare-exchange16b": "goes-on",
  "ascii-adjust-add": "goes-on",
  "ascii-adjust-subtract": "goes-on",
  /** Base in immediate. */
  "ascii-adjust-multiply": "goes-on",
  "ascii-adjust-divide": "goes-on",
  "decimal-adjust-add": "goes-on",
  "decimal-adjust-subtract": "goes-on",
  "set-al-from-carry": "goes-on",
  /** CRC32 r, r/m: d = register, s = operand slot, `scale` its size. */
  crc32: "goes-on",

  // x87, MMX, state.
  /** Opcode byte (0xd8 to 0xdf) in bits 15:8 of immediate, ModRM in bits 7:0. */
  "x87-register": "goes-on",
  "x87-memory": "goes-on",
  wait: "goes-on",
  /**
   * An instruction on MMX registers (EMMS has its own helper), also those that move or convert between MMX and XMM registers: MOVQ2DQ,
   * MOVDQ2Q, CVTPI2PS … `source`: opcode | mandatory prefix (0, 0x66, 0xf2 or 0xf3) << 8 | map (0: 0F, 1: 0F 38, 2: 0F 3A) << 16.
   * `destination`: ModRM | low four bits of REX << 8. `immediate`: the 8-bit immediate, 0 if there is none. The address of an operand in
   * memory (DS:RDI of MASKMOVQ too) is in the effective address slot. What is undefined raises #UD; the decoder need not know.
   */
  mmx: "goes-on",
  "empty-mmx-state": "goes-on",
  "save-fx": "goes-on",
  "restore-fx": "goes-on",
  "save-extended": "goes-on",
  "save-extended-optimized": "goes-on",
  "restore-extended": "goes-on",
  "load-mxcsr": "goes-on",
  "store-mxcsr": "goes-on",
  /** A vector instruction that is done in TypeScript: vector operation number in immediate, slots as for `vector`, 8 bit immediate in `base`. */
  "vector-rare": "goes-on",
  /** Not emitted by the decoder: a `vector` operation calls it, with its fields as they are, when the result or the MXCSR flags need more care than WebAssembly can give. */
  "vector-exact": "goes-on",
} as const;

/** Name of a helper. */
export type HelperName = keyof typeof helperTable;

/** All helpers; the place of a name is its number. */
export const helperNames = Object.keys(helperTable) as readonly HelperName[];

const numbers = new Map<string, number>(helperNames.map((name, index) => [name, index]));

/** The number that stands for a helper in the `auxiliary` field. */
export function helperNumber(name: HelperName): number {
  return numbers.get(name) as number;
}

/** Helpers after which the decoder ends the block (an `end` follows all but "raise", for the answer "next"): they set RIP, or change what the following bytes mean or whether an interrupt may come. */
export const endingHelpers: ReadonlySet<HelperName> = new Set(
  helperNames.filter((name) => helperTable[name] === "ends"),
);
