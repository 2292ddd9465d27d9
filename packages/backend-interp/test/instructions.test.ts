import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bytesOf } from "./support/decoding.ts";
import { GuestInstructions } from "./support/guest-instructions.ts";
import {
  type InstructionCase,
  type InstructionOutcome,
  memorySize,
  NativeInstructions,
} from "./support/native-instructions.ts";
import { Random } from "./support/random.ts";
import { describeVector, randomVectorCase, testedOperations } from "./support/vector-cases.ts";

/**
 * Single instructions through decoder, code cache and core, compared with the processor that the tests run on: that each
 * encoding does what it says, with the operands that it names. (The arithmetic itself has tests of its own.)
 */

const flag = { c: 1n, p: 4n, a: 0x10n, z: 0x40n, s: 0x80n, o: 0x800n };
const allFlags = 0x8d5n;
const notLogical = flag.a;
const unaffected = allFlags;

/** An opcode with ModRM (unless `plain`): what may follow it, and which flags it leaves undefined. */
interface Form {
  readonly opcode: readonly number[];
  /** ModRM.reg if it extends the opcode; undefined: a register. */
  readonly extension?: number;
  /** Bytes operand: AH to BH can be named. */
  readonly bytes?: boolean;
  readonly immediate?: 1 | "operand" | "full";
  readonly plain?: boolean;
  readonly undefinedFlags?: bigint;
  readonly memory?: boolean;
  /** Also with a prefix: f3, f2 or f0 (then only in memory). */
  readonly prefix?: number;
  /** No operand size other than 32 bits makes sense. */
  readonly fixed?: boolean;
  /** General registers are kept small: they are bit numbers or divisors. */
  readonly small?: boolean;
}

const forms: Form[] = [];
for (let operation = 0; operation < 8; operation++) {
  const undefinedFlags = operation === 1 || operation === 4 || operation === 6 ? notLogical : 0n;
  const opcode = operation * 8;
  forms.push({ opcode: [opcode], bytes: true, undefinedFlags });
  forms.push({ opcode: [opcode + 1], undefinedFlags });
  forms.push({ opcode: [opcode + 2], bytes: true, undefinedFlags });
  forms.push({ opcode: [opcode + 3], undefinedFlags });
  forms.push({ opcode: [opcode + 4], plain: true, immediate: 1, undefinedFlags });
  forms.push({ opcode: [opcode + 5], plain: true, immediate: "operand", undefinedFlags });
  forms.push({ opcode: [0x80], extension: operation, bytes: true, immediate: 1, undefinedFlags });
  forms.push({ opcode: [0x81], extension: operation, immediate: "operand", undefinedFlags });
  forms.push({ opcode: [0x83], extension: operation, immediate: 1, undefinedFlags });
  if (operation < 7) forms.push({ opcode: [opcode + 1], prefix: 0xf0, undefinedFlags });
  // Shifts: with a count other than 1 the flag OF is undefined, and CF if the count is more than the width.
  const shiftFlags = flag.o | flag.a;
  for (const [opcode, immediate] of [
    [0xc0, 1],
    [0xd0, undefined],
    [0xd2, undefined],
  ] as const) {
    const more = immediate === undefined ? {} : { immediate };
    const undefinedFlags = operation >= 4 ? shiftFlags | flag.c : shiftFlags;
    forms.push({ opcode: [opcode], extension: operation, bytes: true, undefinedFlags, ...more });
    forms.push({ opcode: [opcode + 1], extension: operation, undefinedFlags, ...more });
  }
}
for (const opcode of [0x84, 0x85]) forms.push({ opcode: [opcode], bytes: opcode === 0x84, undefinedFlags: notLogical });
for (const opcode of [0x86, 0x88, 0x8a]) forms.push({ opcode: [opcode], bytes: true });
for (const opcode of [0x87, 0x89, 0x8b]) forms.push({ opcode: [opcode] });
forms.push(
  { opcode: [0x63] },
  { opcode: [0x69], immediate: "operand", undefinedFlags: flag.s | flag.z | flag.a | flag.p },
);
forms.push({ opcode: [0x6b], immediate: 1, undefinedFlags: flag.s | flag.z | flag.a | flag.p });
for (const opcode of [0x91, 0x92, 0x93, 0x98, 0x99, 0x9e, 0x9f, 0xf5, 0xf8, 0xf9])
  forms.push({ opcode: [opcode], plain: true });
forms.push({ opcode: [0xa8], plain: true, immediate: 1, undefinedFlags: notLogical });
forms.push({ opcode: [0xa9], plain: true, immediate: "operand", undefinedFlags: notLogical });
for (const register of [0, 1, 2, 3]) forms.push({ opcode: [0xb8 + register], plain: true, immediate: "full" });
for (const register of [0, 3, 4, 7]) forms.push({ opcode: [0xb0 + register], plain: true, immediate: 1, fixed: true });
forms.push(
  { opcode: [0xc6], extension: 0, bytes: true, immediate: 1 },
  { opcode: [0xc7], extension: 0, immediate: "operand" },
);
for (const opcode of [0xf6, 0xf7]) {
  const bytes = opcode === 0xf6;
  const sign = flag.s | flag.z | flag.a | flag.p;
  forms.push({ opcode: [opcode], extension: 0, bytes, immediate: bytes ? 1 : "operand", undefinedFlags: notLogical });
  forms.push({ opcode: [opcode], extension: 2, bytes }, { opcode: [opcode], extension: 3, bytes });
  forms.push({ opcode: [opcode], extension: 4, bytes, undefinedFlags: sign });
  forms.push({ opcode: [opcode], extension: 5, bytes, undefinedFlags: sign });
  forms.push({ opcode: [opcode], extension: 6, bytes, undefinedFlags: unaffected, small: true });
  forms.push({ opcode: [opcode], extension: 7, bytes, undefinedFlags: unaffected, small: true });
}
for (const extension of [0, 1]) forms.push({ opcode: [0xfe], extension, bytes: true }, { opcode: [0xff], extension });
for (let code = 0; code < 16; code++) {
  forms.push({ opcode: [0x0f, 0x40 + code] }, { opcode: [0x0f, 0x90 + code], extension: 0, bytes: true, fixed: true });
}
const bitFlags = flag.o | flag.s | flag.a | flag.p;
[0xa3, 0xab, 0xb3, 0xbb].forEach((opcode, index) => {
  forms.push({ opcode: [0x0f, opcode], undefinedFlags: bitFlags, small: true });
  forms.push({ opcode: [0x0f, 0xba], extension: 4 + index, immediate: 1, undefinedFlags: bitFlags });
});
for (const opcode of [0xa4, 0xac]) {
  const undefinedFlags = flag.o | flag.a | flag.c;
  forms.push({ opcode: [0x0f, opcode], immediate: 1, undefinedFlags }, { opcode: [0x0f, opcode + 1], undefinedFlags });
}
forms.push({ opcode: [0x0f, 0xaf], undefinedFlags: flag.s | flag.z | flag.a | flag.p });
for (const opcode of [0xb0, 0xc0]) {
  forms.push({ opcode: [0x0f, opcode], bytes: true }, { opcode: [0x0f, opcode + 1] });
  forms.push({ opcode: [0x0f, opcode + 1], prefix: 0xf0 });
}
for (const opcode of [0xb6, 0xbe]) forms.push({ opcode: [0x0f, opcode], bytes: true }, { opcode: [0x0f, opcode + 1] });
forms.push({ opcode: [0x0f, 0xb8], prefix: 0xf3 });
for (const opcode of [0xbc, 0xbd]) forms.push({ opcode: [0x0f, opcode], undefinedFlags: allFlags & ~flag.z });
forms.push({ opcode: [0x0f, 0xc7], extension: 1, memory: true });
for (const register of [0, 1, 2, 3]) forms.push({ opcode: [0x0f, 0xc8 + register], plain: true });
forms.push({ opcode: [0x0f, 0x38, 0xf0], prefix: 0xf2, bytes: true }, { opcode: [0x0f, 0x38, 0xf1], prefix: 0xf2 });

interface Case extends InstructionCase {
  readonly form: Form;
}

/** A random instruction of a form: with registers RAX to RBX, or memory at [RDI + displacement] or [RDI + register * scale]. */
function makeCase(random: Random, form: Form): Case {
  const bytes: number[] = [];
  const size = form.fixed === true ? 4 : random.pick([2, 4, 8]);
  const onlyRegister = form.memory !== true && form.prefix !== 0xf0 && random.chance(0.5);
  // MOVZX, MOVSX and CRC32 have a byte as their source only.
  const isByte = form.bytes === true && ![0xb6, 0xbe, 0xf0].includes(form.opcode.at(-1) as number);
  if (form.prefix !== undefined) bytes.push(form.prefix);
  if (size === 2) bytes.push(0x66);
  const rex = size === 8 ? 0x48 : form.plain !== true && random.chance(0.2) ? 0x40 : 0;
  if (rex !== 0) bytes.push(rex);
  bytes.push(...form.opcode);
  const highBytes = form.bytes === true && rex === 0;
  if (form.plain !== true) {
    const source = isByte && highBytes ? random.below(8) : random.below(4);
    const reg = form.extension ?? source;
    if (onlyRegister) bytes.push(0xc0 | (reg << 3) | (highBytes ? random.below(8) : random.below(4)));
    else bytes.push(0x47 | (reg << 3), random.pick([0, 8, 16, 40]));
  }
  if (form.immediate === 1) bytes.push(random.below(256));
  else if (form.immediate === "operand") bytes.push(...random.bytes(size === 2 ? 2 : 4));
  else if (form.immediate === "full") bytes.push(...random.bytes(size));
  const small = form.small === true;
  const registers = BigUint64Array.from({ length: 4 }, () => (small ? BigInt(random.below(480)) : random.u64()));
  if (!small && random.chance(0.3)) registers[0] = registers[random.below(4)] as bigint;
  return {
    form,
    code: Uint8Array.from(bytes),
    image: new Uint8Array(512),
    memory: random.bytes(memorySize),
    registers,
    flags: random.u64() & allFlags,
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Results that the manuals leave undefined: SHLD and SHRD of 16 bits by more than 16, BSWAP of 16 bits. */
function isUndefined({ form, code }: Case): boolean {
  const last = form.opcode.at(-1) as number;
  const isShort = code.includes(0x66) && code.indexOf(0x66) < 2;
  return isShort && form.opcode[0] === 0x0f && ([0xa4, 0xa5, 0xac, 0xad].includes(last) || (last & 0xf8) === 0xc8);
}

/** What differs between the host's outcome and the guest's. */
function compare(
  item: InstructionCase,
  wanted: InstructionOutcome,
  actual: InstructionOutcome,
  mask: bigint,
): string[] {
  const differences: string[] = [];
  const note = (text: string) => differences.push(`${hex(item.code)}: ${text}`);
  if (wanted.signal !== actual.signal) note(`signal ${actual.signal} for ${wanted.signal}`);
  if (wanted.signal !== 0 || actual.signal !== 0) return differences;
  const [flags, wantedFlags] = [actual.flags & mask, wanted.flags & mask];
  if (flags !== wantedFlags) note(`flags ${flags.toString(16)} for ${wantedFlags.toString(16)}`);
  if (hex(wanted.memory) !== hex(actual.memory)) note(`memory ${hex(actual.memory)} for ${hex(wanted.memory)}`);
  wanted.registers.forEach((value, register) => {
    const found = actual.registers[register] as bigint;
    if (found !== value) note(`register ${register}: ${found.toString(16)} for ${value.toString(16)}`);
  });
  for (let register = 0; register < 16; register++) {
    const xmm = ({ image }: InstructionOutcome) => hex(image.subarray(160 + 16 * register, 176 + 16 * register));
    if (xmm(wanted) !== xmm(actual)) note(`xmm${register}: ${xmm(actual)} for ${xmm(wanted)}`);
  }
  return differences;
}

/** Short programs: what needs more than one instruction to be seen, or an encoding of its own. Memory is at [RDI]. */
const programs: Record<string, string> = {
  "push rax; pop rbx": "50 5b",
  "push rax; pop [rdi+8]": "50 8f 47 08",
  "push [rdi+16]; pop rcx": "ff 77 10 59",
  "push 0x80000000; pop rdx": "68 00 00 00 80 5a",
  "push -2; pop rdx": "6a fe 5a",
  "push ax; pop bx": "66 50 66 5b",
  "push rsp; pop rax; sub rax, rsp": "54 58 48 29 e0",
  "push [rsp]; pop rcx": "50 ff 34 24 59 58",
  "enter 16, 0; leave": "c8 10 00 00 c9",
  "call; inc rax; lea rsp, [rsp+8]": "e8 00 00 00 00 48 ff c0 48 8d 64 24 08",
  "lea rcx, [rsp-24]; xchg rsp, rcx; xchg rsp, rcx; xor ecx, ecx": "48 8d 4c 24 e8 48 87 e1 48 87 e1 31 c9",
  "mov ecx, 5; inc rax; loop": "b9 05 00 00 00 48 ff c0 e2 fb",
  "mov ecx, 5; dec al; loopne": "b9 05 00 00 00 fe c8 e0 fc",
  "xor ecx, ecx; jrcxz; inc rax": "31 c9 e3 03 48 ff c0",
  "lea rax, [rax+rbx*4-5]": "48 8d 44 98 fb",
  "lea eax, [ecx+edx*8+0x12345678] with 32-bit addresses": "67 8d 84 d1 78 56 34 12",
  "lea ax, [rbx+rcx]": "66 8d 04 0b",
  "movzx ecx, cl; and ecx, 15; mov rax, [rdi+rcx*8]": "0f b6 c9 83 e1 0f 48 8b 04 cf",
  "and ecx, 15; neg rcx; mov [rdi+rcx*4+64], edx": "83 e1 0f 48 f7 d9 89 54 8f 40",
  "mov eax, [edi+4] is 32 bits wide": "67 48 8d 07 48 29 c0",
  "lea rsi, [rdi+32]; mov ecx, 16; rep movsb": "48 8d 77 20 b9 10 00 00 00 f3 a4",
  "lea rsi, [rdi+32]; mov ecx, 4; rep movsq": "48 8d 77 20 b9 04 00 00 00 f3 48 a5",
  "mov ecx, 9; rep stosb": "b9 09 00 00 00 f3 aa",
  "mov ecx, 9; rep stosw": "b9 09 00 00 00 f3 66 ab",
  "mov ecx, 40; repne scasb": "b9 28 00 00 00 f2 ae",
  "lea rsi, [rdi+32]; mov ecx, 5; repe cmpsb": "48 8d 77 20 b9 05 00 00 00 f3 a6",
  "lea rsi, [rdi+32]; lodsd": "48 8d 77 20 ad",
  "lea rsi, [rdi+32]; std; movsw; cld": "48 8d 77 20 fd 66 a5 fc",
  "mov rbx, rdi; and eax, 15; xlatb; xor ebx, ebx": "48 89 fb 83 e0 0f d7 31 db",
  "mov ecx, 200; bts [rdi], rcx": "b9 c8 00 00 00 48 0f ab 0f",
  "mov ecx, -9; btc [rdi+64], ecx": "b9 f7 ff ff ff 0f bb 4f 40",
  "mov rax, [rdi]; mov rdx, [rdi+8]; cmpxchg16b [rdi]": "48 8b 07 48 8b 57 08 48 0f c7 0f",
  "pushfq; pop rax; and eax, 0xcd5": "9c 58 25 d5 0c 00 00",
  "div by zero": "31 c9 f7 f1",
  ud2: "0f 0b",
  "xchg ax, ax and long NOPs": "66 90 0f 1f 44 00 00 66 0f 1f 84 00 00 00 00",
  "movd xmm9, eax": "66 44 0f 6e c8",
  "movq xmm1, rbx": "66 48 0f 6e cb",
  "movd ecx, xmm3": "66 0f 7e d9",
  "movq rcx, xmm3": "66 48 0f 7e d9",
  "movd [rdi+4], xmm3": "66 0f 7e 5f 04",
  "movq xmm2, xmm8": "f3 41 0f 7e d0",
  "movq xmm2, [rdi+8]": "f3 0f 7e 57 08",
  "movq [rdi+8], xmm2": "66 0f d6 57 08",
  "movss xmm1, [rdi]": "f3 0f 10 0f",
  "movss xmm1, xmm2": "f3 0f 10 ca",
  "movss [rdi+4], xmm2": "f3 0f 11 57 04",
  "movsd xmm1, [rdi]": "f2 0f 10 0f",
  "movsd xmm1, xmm2": "f2 0f 10 ca",
  "movsd [rdi+4], xmm2": "f2 0f 11 57 04",
  "movlps xmm1, [rdi]": "0f 12 0f",
  "movhps xmm1, [rdi]": "0f 16 0f",
  "movhlps xmm1, xmm2": "0f 12 ca",
  "movlhps xmm1, xmm2": "0f 16 ca",
  "movlpd [rdi+8], xmm2": "66 0f 13 57 08",
  "movhpd [rdi+8], xmm2": "66 0f 17 57 08",
  "movups xmm1, [rdi+3]": "0f 10 4f 03",
  "movaps xmm1, [rdi+16]": "0f 28 4f 10",
  "movaps xmm1, [rdi+3] is not aligned": "0f 28 4f 03",
  "movdqa xmm10, xmm11": "66 45 0f 6f d3",
  "movdqu [rdi+5], xmm12": "f3 44 0f 7f 67 05",
  "movntdq [rdi+16], xmm1": "66 0f e7 4f 10",
  "movnti [rdi], rcx": "48 0f c3 0f",
  "lddqu xmm1, [rdi+7]": "f2 0f f0 4f 07",
  "movntdqa xmm1, [rdi+32]": "66 0f 38 2a 4f 20",
  "pextrw edx, xmm1, 3": "66 0f c5 d1 03",
  "pextrw [rdi+2], xmm1, 5": "66 0f 3a 15 4f 02 05",
  "addps xmm1, [rdi+1] is not aligned": "0f 58 4f 01",
};
for (let code = 0; code < 16; code++) {
  programs[`jump on condition ${code}; inc rax`] = `${(0x70 + code).toString(16)} 03 48 ff c0`;
}

describe("instructions in 64-bit mode", () => {
  let native: NativeInstructions;
  beforeAll(() => {
    native = new NativeInstructions();
  });
  afterAll(() => {
    native[Symbol.dispose]();
  });

  test("of the integer unit do what the host's processor does", () => {
    const random = new Random(7);
    const guest = new GuestInstructions();
    const cases = forms
      .flatMap((form) => Array.from({ length: 60 }, () => makeCase(random, form)))
      .filter((item) => !isUndefined(item));
    const expected = native.run(cases);
    const differences: string[] = [];
    cases.forEach((item, index) => {
      const mask = allFlags & ~(item.form.undefinedFlags ?? 0n);
      differences.push(...compare(item, expected[index] as InstructionOutcome, guest.run(item), mask));
    });
    expect(differences.slice(0, 20)).toEqual([]);
    expect(cases.length).toBeGreaterThan(10_000);
  });

  test("in short programs do what the host's processor does", () => {
    const random = new Random(11);
    const guest = new GuestInstructions();
    const cases = Object.values(programs).flatMap((text) =>
      Array.from({ length: 20 }, (): InstructionCase => {
        const image = random.bytes(512).fill(0, 0, 160);
        const view = new DataView(image.buffer);
        view.setUint16(0, 0x37f, true);
        view.setUint32(24, 0x1f80, true);
        return {
          code: bytesOf(text),
          image,
          memory: random.bytes(memorySize),
          registers: BigUint64Array.from({ length: 4 }, () => random.u64()),
          flags: random.u64() & allFlags,
        };
      }),
    );
    const expected = native.run(cases);
    const differences = cases.flatMap((item, index) => {
      // AND and XOR leave AF undefined.
      return compare(item, expected[index] as InstructionOutcome, guest.run(item), allFlags & ~notLogical);
    });
    expect(differences.slice(0, 20)).toEqual([]);
  });

  test("on vectors do what the host's processor does", () => {
    const random = new Random(5);
    const guest = new GuestInstructions();
    // Every processor family has its own tables for the approximations.
    const operations = testedOperations.filter(({ name }) => !/^r(cp|sqrt)[ps]s$/.test(name));
    const cases = operations.flatMap((operation) =>
      Array.from({ length: 12 }, () => randomVectorCase(random, operation)),
    );
    const expected = native.run(cases);
    cases.forEach((item, index) => {
      const label = `${item.operation.name} ${hex(item.code)}`;
      expect(describeVector(guest.run(item)), label).toEqual(describeVector(expected[index] as InstructionOutcome));
    });
    expect(cases.length).toBeGreaterThan(2000);
  });
});
