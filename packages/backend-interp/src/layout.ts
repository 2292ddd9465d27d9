/**
 * Where things are in the core memory: WebAssembly memory 0, which belongs to one vCPU and which the guest cannot
 * reach. (Memory 1 is guest RAM.) All offsets are byte addresses; a "slot" is the address of an 8-byte cell that an
 * operation's operand fields can point to. Every value is little-endian.
 */

/** Temporaries of an instruction's operations: T0 to T7, 8 bytes each. No value survives an instruction. */
export const temporariesAt = 0x000;
/**
 * General-purpose registers in encoding order, 8 bytes each. AH, CH, DH and BH are at slot + 1 of registers 0 to 3.
 * NOTE: they are not at 0, because a helper's destination 0 means "none: the operand is in memory".
 */
export const registersAt = 0x040;
/** Always zero: the slot of an absent base, index or segment. */
export const zeroSlot = 0x0c0;
/** RIP of the first instruction of the block that executes (RIP, EIP or IP; not linear). */
export const blockRipSlot = 0x0c8;
/** RIP at which to go on whenever no block executes: set by whatever leaves a block. */
export const ripSlot = 0x0d0;
/** Result of the operation `address-…`: a linear address. */
export const effectiveAddressSlot = 0x0d8;
/** RAM offset where a `…-modify` load found its operand; negative (as i64) if `store-back` must take the slow path. */
export const modifyOffsetSlot = 0x0e0;
/** Linear address and value of a slow access, see `slow-access`. */
export const slowAddressSlot = 0x0e8;
export const slowValueSlot = 0x0f0;
/** High half of a slow 16-byte access. */
export const slowValueHighSlot = 0x0f8;

/** Segment registers ES CS SS DS FS GS (encoding order), then LDTR and TR, {@link segmentSize} bytes each. */
export const segmentsAt = 0x100;
export const segmentSize = 24;
/** Fields of a segment: base u64, limit u32 (bytes, scaled), attributes u16 (as in core's segmentState), selector u16, unusable u32. */
export const segmentField = { base: 0, limit: 8, attributes: 12, selector: 14, unusable: 16 } as const;
/** GDTR, IDTR: base u64, limit u32. */
export const gdtrAt = 0x1c0;
export const idtrAt = 0x1d0;

/**
 * Lazy arithmetic flags. For `flagsKind`:
 * - `sum`: result = left + right; `difference`: result = left - right (also CMP, NEG). All three are sign-extended from
 *   the operation's width to 64 bits, so no width is needed: for a difference CF is left <u right, for a sum result <u left;
 *   OF is the sign of ((left ^ result) & (right ^ result)) or ((left ^ right) & (left ^ result)); AF is bit 4 of left ^ right ^ result.
 * - `increment`, `decrement`: as sum and difference (right is 1), but CF is in `eflags`.
 * - `result`: ZF, SF and PF come from result (sign-extended); CF, AF and OF are in `eflags`.
 * - `explicit`: all six are in `eflags`.
 *
 * AND, OR, XOR and TEST count as a difference with right = 0 and left = result: CF, OF and AF come out as 0.
 */
export const flagsKindAt = 0x1e0;
export const flagsKind = { explicit: 0, result: 1, sum: 2, difference: 3, increment: 4, decrement: 5 } as const;
/** RFLAGS as u32. The arithmetic bits count only as {@link flagsKind} says; the others (IF, DF, TF, IOPL, NT, AC, ID, …) always. Bit 1 is always set. */
export const eflagsAt = 0x1e4;
export const flagsResultAt = 0x1e8;
export const flagsLeftAt = 0x1f0;
export const flagsRightAt = 0x1f8;

/** Control registers and EFER, u64 each. */
export const cr0At = 0x200;
export const cr2At = 0x208;
export const cr3At = 0x210;
export const cr4At = 0x218;
export const eferAt = 0x220;
/** DR0 to DR7, u64 each (4 and 5 unused). */
export const debugRegistersAt = 0x228;

/** u32: the operation that executes, stored before anything that can fault or that TypeScript does. */
export const currentOperationAt = 0x268;
/** i32: instructions left before `run` returns; made negative to force a return at the end of the block. */
export const budgetAt = 0x26c;
/** i32: what was taken from the budget when a return was forced, so that executed instructions can be counted. */
export const budgetWithheldAt = 0x270;
/** u32: address of the TLB half that the current privilege uses: {@link tlbAt} for CPL 0 to 2, plus {@link tlbHalfSize} for CPL 3. */
export const tlbBaseAt = 0x274;
/** u32: part of the key of the jump cache; changed to invalidate it, and differs between modes. */
export const jumpKeyAt = 0x278;
/** u32: the current mode, see `Mode` in decode/mode.ts: operand and address size defaults, CPL 3 or not, flat segments or not. */
export const modeAt = 0x27c;
/** u32: current privilege level. */
export const privilegeAt = 0x280;
/** u32: 1 after STI, 2 after MOV SS / POP SS, for one instruction. */
export const interruptShadowAt = 0x284;
/** u32: MXCSR. */
export const mxcsrAt = 0x288;
/** u64: GS base that SWAPGS exchanges (IA32_KERNEL_GS_BASE). */
export const kernelGsBaseAt = 0x290;
/** u64 each: STAR, LSTAR, CSTAR, FMASK. */
export const starAt = 0x298;
export const lstarAt = 0x2a0;
export const cstarAt = 0x2a8;
export const fmaskAt = 0x2b0;
/** u64: XCR0; 1 after reset. Only bits of float/'s `supportedXcr0` may be set. */
export const xcr0At = 0x2b8;

/** u32: the block that executes, stored when it is entered. */
export const currentBlockAt = 0x2f8;

/** x87: eight physical registers of 16 bytes (80-bit value in the low ten), then control, status, tag words. */
export const x87RegistersAt = 0x300;
export const x87ControlAt = 0x380;
/** u16 status word with TOP in bits 13:11. */
export const x87StatusAt = 0x384;
/** u16 tag word, two bits a physical register: 3 empty, all else not (valid, zero and special are told apart when it is stored). */
export const x87TagAt = 0x388;
/** u16 last opcode, u64 last instruction pointer, u64 last data pointer (selectors: u16 each at +0x3ac, +0x3ae). */
export const x87OpcodeAt = 0x38c;
export const x87InstructionPointerAt = 0x390;
export const x87DataPointerAt = 0x398;

/** XMM0 to XMM15, 16 bytes each, 16-aligned. */
export const xmmAt = 0x400;
/** 16-byte temporaries of vector operations: V0 to V3. */
export const vectorTemporariesAt = 0x500;
/** 16 bytes that conversions between MMX and XMM registers work on. */
export const conversionScratchAt = 0x540;

/**
 * TLB: two halves (supervisor, user), direct-mapped by linear page number. Entry: tagRead u64, tagWrite u64, addend u64,
 * unused u64. A tag is the page-aligned linear address for which the access is allowed, or 1 (never equal to a page
 * address). Linear address + addend (modulo 2^64) is where the byte is in guest RAM's memory. Only RAM pages are entered; tagWrite only when the page
 * is writable, dirty and holds no decoded code of any vCPU.
 */
export const tlbAt = 0x1_0000;
export const tlbEntries = 1024;
export const tlbEntrySize = 32;
export const tlbHalfSize = tlbEntries * tlbEntrySize;
export const tlbField = { tagRead: 0, tagWrite: 8, addend: 16 } as const;
export const tlbInvalidTag = 1;

/**
 * Jump cache: direct-mapped by RIP; entry: rip u64, key u32 ({@link jumpKeyAt}), block u32. The index is
 * (low half of RIP ^ (that >>> 13)) modulo the number of entries. Key 0 marks an empty entry and is never the current key.
 */
export const jumpCacheAt = 0x2_0000;
export const jumpCacheEntries = 8192;
export const jumpCacheEntrySize = 16;

/** The jump cache's entry for a RIP, given its low 32 bits. The core reads entries, `resolve` writes them. */
export function jumpCacheEntryAt(ripLow: number): number {
  return jumpCacheAt + ((ripLow ^ (ripLow >>> 13)) & (jumpCacheEntries - 1)) * jumpCacheEntrySize;
}

/** Decoded blocks are allocated upwards from here until {@link coreMemorySize}. */
export const arenaAt = 0x8_0000;
/** Bytes of core memory. */
export const coreMemorySize = 64 * 1024 * 1024;

/** A block: this header, then its operations. */
export const blockHeaderSize = 16;
/** u32 instructions in the block; u32 length of its code in bytes; u32 RAM page that it lies in; u32 number of operations. */
export const blockField = { instructions: 0, length: 4, page: 8, operations: 12 } as const;
