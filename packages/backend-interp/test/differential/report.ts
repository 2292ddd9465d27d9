import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import { codeAt } from "./address-space.ts";
import type { Bitness } from "./instruction-forms.ts";
import type { NativeOutcome } from "./native-sequences.ts";
import { mediaAt, type Sequence } from "./sequence.ts";

const registerNames = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");

/** The first instruction of some bytes: address, bytes, text. */
function instructionLine(formatter: Formatter, bitness: Bitness, bytes: Uint8Array, address: number): string {
  const decoder = new Decoder(bitness, bytes, DecoderOptions.None);
  decoder.ip = BigInt(address);
  const instruction = decoder.decode();
  const own = Buffer.from(bytes.subarray(0, instruction.length)).toString("hex");
  const line = `  ${hex(address, 8)}  ${own.padEnd(24)}  ${formatter.format(instruction)}`;
  instruction.free();
  decoder.free();
  return line;
}

/** The instructions that are left, one a line. */
function disassemble(formatter: Formatter, sequence: Sequence, removed: ReadonlySet<number>): string[] {
  const left = sequence.items.filter(({ group }) => !removed.has(group));
  return left.map(({ offset, length }) => {
    const bytes = sequence.code.subarray(offset, offset + length);
    return instructionLine(formatter, sequence.bitness, bytes, codeAt + sequence.codeOffset + offset);
  });
}

/** A difference, with all it takes to understand it. */
export function describeSequence(
  label: string,
  sequence: Sequence,
  removed: ReadonlySet<number>,
  wanted: NativeOutcome,
  endBytes: Uint8Array,
  found: readonly string[],
): string {
  const view = new DataView(sequence.media.buffer, sequence.media.byteOffset);
  const formatter = new Formatter(FormatterSyntax.Intel);
  const lines = [
    `${label}: ${sequence.bitness}-bit code`,
    ...disassemble(formatter, sequence, removed),
    " starts with",
  ];
  for (let register = 0; register < 16; register += 4) {
    const values = [0, 1, 2, 3].map((offset) => {
      const at = 2 * (register + offset);
      return `${registerNames[register + offset]}=${hex(sequence.registers[at + 1] as number, 8)}${hex(sequence.registers[at] as number, 8)}`;
    });
    lines.push(`  ${values.join(" ")}`);
  }
  const text = lines.join("\n");
  const at = (offset: number): string => hex(view.getUint16(offset, true), 4);
  lines.push(
    `  flags=${hex(sequence.flags, 3)} mxcsr=${at(mediaAt.mxcsr)} x87: control=${at(mediaAt.control)} status=${at(mediaAt.status)} tags=${at(mediaAt.tags)}`,
  );
  const cell = (offset: number, length: number): string =>
    Buffer.from(sequence.media.subarray(offset, offset + length))
      .reverse()
      .toString("hex");
  for (let register = 0; register < 16; register++) {
    if (new RegExp(`xmm${register}\\b`).test(text))
      lines.push(`  xmm${register}=${cell(mediaAt.xmm + 16 * register, 16)}`);
  }
  if (/\b(f[a-z0-9]+|st\(\d\)|mm\d)\b/.test(text)) {
    for (let register = 0; register < 8; register++)
      lines.push(`  st${register}=${cell(mediaAt.stack + 16 * register, 10)}`);
  }
  const end = Number(wanted.rip) - codeAt - sequence.codeOffset;
  const isRegular = end === sequence.code.length - 2 || sequence.items.some(({ offset }) => offset === end);
  if (!isRegular) {
    lines.push(" jumps into the middle of an instruction, changes itself, or leaves its code, and then comes to");
    lines.push(instructionLine(formatter, sequence.bitness, endBytes, Number(wanted.rip)));
  }
  lines.push(` ends natively with exception ${wanted.vector} at ${wanted.rip.toString(16)}; the interpreter differs:`);
  lines.push(...(found.length > 0 ? found : ["not when it is executed alone"]).map((line) => `  ${line}`));
  formatter.free();
  return lines.join("\n");
}
