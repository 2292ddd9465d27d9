import { byMemory, modrm, type OpcodeMap, type Row, undefinedRow } from "./row.ts";

/**
 * The x87 escapes D8 to DF: all go by the helpers `x87-memory` and `x87-register`. What does not exist is a table: per
 * escape the /reg values with a memory operand, and the ModRM bytes with a register operand.
 */
const undefinedMemory: Readonly<Record<number, readonly number[]>> = { 217: [1], 219: [4, 6], 221: [5] };

const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);
const undefinedRegister: Readonly<Record<number, readonly number[]>> = {
  217: [...range(0xd1, 0xd7), 0xe2, 0xe3, 0xe6, 0xe7, 0xef],
  218: [...range(0xe0, 0xe8), ...range(0xea, 0xff)],
  219: [...range(0xe5, 0xe7), ...range(0xf8, 0xff)],
  221: range(0xf0, 0xff),
  222: [0xd8, ...range(0xda, 0xdf)],
  223: [...range(0xe1, 0xe7), ...range(0xf8, 0xff)],
};

type Access = readonly [size: number, write: boolean];
const read = (size: number): Access => [size, false];
const write = (size: number): Access => [size, true];
const arithmetic = (size: number): readonly Access[] => new Array<Access>(8).fill(read(size));
/** Load, two or three stores: what most /reg values of D9, DB, DD and DF begin with. */
const transfers = (size: number): readonly Access[] => [read(size), write(size), write(size), write(size)];
/** Memory operands by escape and /reg. NOTE: the environment and the whole state as in 32-bit modes; shorter ones are not told apart. */
const operands: readonly (readonly Access[])[] = [
  arithmetic(4),
  [...transfers(4), read(28), read(2), write(28), write(2)],
  arithmetic(4),
  [...transfers(4), read(1), read(10), read(1), write(10)],
  arithmetic(8),
  [...transfers(8), read(108), read(1), write(108), write(2)],
  arithmetic(2),
  [...transfers(2), read(10), read(8), write(10), write(8)],
];

function escapeRow(opcode: number): Row {
  const memory = modrm("x87", (i) => {
    i.effectiveAddress(...((operands[opcode - 0xd8] as readonly Access[])[i.reg & 7] ?? read(2)));
    i.helper("x87-memory", { immediate: (opcode << 8) | i.modrm });
  });
  const register = modrm("x87", (i) => i.helper("x87-register", { immediate: (opcode << 8) | i.modrm }));
  const noMemory = new Set(undefinedMemory[opcode]);
  const noRegister = new Set(undefinedRegister[opcode]);
  return byMemory(
    { ...memory, select: (i) => (noMemory.has(i.reg & 7) ? undefinedRow : memory) },
    { ...register, select: (i) => (noRegister.has(i.modrm) ? undefinedRow : register) },
  );
}

/** Enters the x87 instructions into the one-byte map. */
export function enterX87(map: OpcodeMap): void {
  for (let opcode = 0xd8; opcode <= 0xdf; opcode++) map[opcode] = escapeRow(opcode);
}
