import { codeAt } from "./address-space.ts";
import { arithmeticFlags, mediaAt, type Outcome, type Sequence, undefinedFlags } from "./sequence.ts";

const vectorsWithErrorCode: ReadonlySet<number> = new Set([12, 13, 14]);
const pageFault = 14;
const simd = 19;
const direction = 0x400;
/** From here on it is the kernel's. */
const lastUserAddress = 0x7fff_ffff_f000n;

const registerNames = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

const hex = (value: number | bigint, digits = 1): string => value.toString(16).padStart(digits, "0");

/** What is not compared on this host, because makers leave it differently or because the host does not do it. */
export interface HostFacts {
  /** It executes 32-bit code. */
  readonly executes32: boolean;
  /** x87 status bits that some instructions leave undefined are those that the interpreter leaves, too. */
  readonly isAmd: boolean;
}

/** What differs between two outcomes of a sequence, in words; memory is compared by the caller. */
export function differences(
  sequence: Sequence,
  removed: ReadonlySet<number>,
  wanted: Outcome,
  actual: Outcome,
  { isAmd }: HostFacts,
): string[] {
  const found: string[] = [];
  const note = (what: string, expected: string, got: string): void => {
    if (expected !== got) found.push(`${what}: expected ${expected}, got ${got}`);
  };
  const end = (outcome: Outcome): string =>
    outcome.endless ? "no end" : `exception ${outcome.vector} at ${hex(outcome.rip)}`;
  // Where both operands of CMPS fault, a processor may read either one first, and makers do it differently.
  const eitherOperand =
    wanted.rip === actual.rip &&
    vectorsWithErrorCode.has(wanted.vector) &&
    vectorsWithErrorCode.has(actual.vector) &&
    comparesStrings(sequence, Number(wanted.rip) - codeAt - sequence.codeOffset);
  if (!eitherOperand) note("ends with", end(wanted), end(actual));
  if (wanted.endless || actual.endless) return found;
  if (!eitherOperand && wanted.vector === actual.vector && vectorsWithErrorCode.has(wanted.vector)) {
    // Of kernel addresses Linux does not tell whether they are mapped.
    const mask = wanted.vector === pageFault && wanted.faultAddress >= lastUserAddress ? ~1 : ~0;
    note("error code", hex(wanted.errorCode & mask), hex(actual.errorCode & mask));
  }
  if (!eitherOperand && wanted.vector === pageFault && actual.vector === pageFault) {
    note("fault address", hex(wanted.faultAddress), hex(actual.faultAddress));
  }
  for (let register = 0; register < 16; register++) {
    const value = ({ registers }: Outcome): string =>
      hex(registers[2 * register + 1] as number, 8) + hex(registers[2 * register] as number, 8);
    if (
      wanted.registers[2 * register] !== actual.registers[2 * register] ||
      wanted.registers[2 * register + 1] !== actual.registers[2 * register + 1]
    ) {
      note(registerNames[register] as string, value(wanted), value(actual));
    }
  }
  if (((wanted.flags ^ actual.flags) & (arithmeticFlags | direction)) !== 0) {
    const offset = Number(wanted.rip) - codeAt - sequence.codeOffset;
    const unknown = undefinedFlags(sequence, removed)?.get(offset) ?? arithmeticFlags;
    const mask = (arithmeticFlags | direction) & ~unknown;
    note("flags", hex(wanted.flags & mask, 3), hex(actual.flags & mask, 3));
  }
  if (Buffer.compare(wanted.media, actual.media) !== 0) {
    compareVectors(wanted.media, actual.media, note);
    // NOTE: whether CVTPS2PI and its like have made the x87 registers MMX registers when they raise #XM, nobody says.
    if (wanted.vector !== simd) compareStack(wanted.media, actual.media, isAmd, note);
  }
  return found;
}

/** Operand and address size, segments, LOCK, REPNE, REP, REX. */
const isPrefix = (byte: number): boolean =>
  [0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3].includes(byte);

/** Whether the instruction at an offset is CMPS. */
function comparesStrings({ code, bitness }: Sequence, offset: number): boolean {
  let at = offset;
  while (isPrefix(code[at] ?? 0) || (bitness === 64 && ((code[at] ?? 0) & 0xf0) === 0x40)) at++;
  return ((code[at] ?? 0) & 0xfe) === 0xa6;
}

const conditionCodes = 0x4700;

type Note = (what: string, expected: string, got: string) => void;

const reversedHex = (media: Uint8Array, at: number, length: number): string =>
  Buffer.from(media.subarray(at, at + length))
    .reverse()
    .toString("hex");

function compareVectors(wanted: Uint8Array, actual: Uint8Array, note: Note): void {
  const both = (at: number, length: number): [string, string] => [
    reversedHex(wanted, at, length),
    reversedHex(actual, at, length),
  ];
  note("mxcsr", ...both(mediaAt.mxcsr, 4));
  for (let register = 0; register < 16; register++) note(`xmm${register}`, ...both(mediaAt.xmm + 16 * register, 16));
}

function compareStack(wanted: Uint8Array, actual: Uint8Array, isAmd: boolean, note: Note): void {
  const both = (at: number, length: number): [string, string] => [
    reversedHex(wanted, at, length),
    reversedHex(actual, at, length),
  ];
  const status = (media: Uint8Array): string =>
    hex(
      new DataView(media.buffer, media.byteOffset).getUint16(mediaAt.status, true) & (isAmd ? 0xffff : ~conditionCodes),
      4,
    );
  note("x87 control", ...both(mediaAt.control, 2));
  note("x87 status", status(wanted), status(actual));
  note("x87 tags", ...both(mediaAt.tags, 1));
  for (let register = 0; register < 8; register++) note(`st${register}`, ...both(mediaAt.stack + 16 * register, 10));
}
