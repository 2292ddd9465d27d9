import type { Instruction } from "./instruction.ts";

/**
 * What follows opcode, ModRM and displacement:
 * - `byte`, `word`: 8 or 16 bits; `byte` is sign-extended, `word` zero-extended.
 * - `operand`: by operand size, at most 32 bits, sign-extended (Iz).
 * - `full`: by operand size, up to 64 bits (Iv of MOV).
 * - `address`: by address size (moffs).
 * - `enter`: 16 bits, then 8: value = first | second << 16.
 * - `far`: offset by operand size (16 or 32 bits), then 16 bits of selector in the high half.
 */
export type Immediate = "none" | "byte" | "word" | "operand" | "full" | "address" | "enter" | "far";

/** Where an instruction exists; elsewhere it raises #UD. */
export type Availability = "always" | "long" | "legacy" | "protected";

/** One opcode of a map: all that the decoder needs to find an instruction's length, and how its operations are made. */
export interface Row {
  /** Mnemonic of the Intel SDM, lower case; for rows that stand for several the most general one. */
  readonly name: string;
  readonly modrm: boolean;
  readonly immediate: Immediate;
  /** `long`: 64-bit mode only; `legacy`: not there; `protected`: not in real-address and virtual-8086 mode. */
  readonly availability: Availability;
  /** LOCK is allowed if the destination is in memory. */
  readonly lockable: boolean;
  /** An operand size of 64 bits is the default in 64-bit mode and 32 bits do not exist: stack and near branches. */
  readonly wide: boolean;
  /** ModRM.mod counts as 3 whatever it is. */
  readonly registerOnly: boolean;
  /** Uses XMM registers: see {@link Mode.vectorsAllowed}. */
  readonly vector: boolean;
  /** Chooses another row once ModRM (if `modrm`) and the prefixes are known; it decides about all else. */
  readonly select: ((instruction: Instruction) => Row) | undefined;
  /** Writes the operations. Prefixes, ModRM, displacement and immediate were read. */
  readonly emit: (instruction: Instruction) => void;
}

/** Properties of a row that are not the default. */
export type RowOptions = Partial<Omit<Row, "name" | "emit" | "select">>;

/** Makes a row. */
export function row(name: string, emit: (instruction: Instruction) => void, options: RowOptions = {}): Row {
  return {
    name,
    modrm: false,
    immediate: "none",
    availability: "always",
    lockable: false,
    wide: false,
    registerOnly: false,
    vector: false,
    select: undefined,
    ...options,
    emit,
  };
}

/** Makes a row with a ModRM byte. */
export function modrm(name: string, emit: (instruction: Instruction) => void, options: RowOptions = {}): Row {
  return row(name, emit, { ...options, modrm: true });
}

/** An opcode that does not exist: #UD. */
export const undefinedRow: Row = row("(bad)", (instruction) => instruction.raise(6));

function chosen(name: string, hasModrm: boolean, select: (instruction: Instruction) => Row): Row {
  return { ...row(name, undefinedRow.emit, { modrm: hasModrm }), select };
}

/** ModRM.reg chooses among eight rows. */
export function byRegister(name: string, rows: readonly (Row | undefined)[]): Row {
  return chosen(name, true, (instruction) => rows[instruction.reg & 7] ?? undefinedRow);
}

/** Whether ModRM.rm is memory or a register chooses. */
export function byMemory(memory: Row | undefined, register: Row | undefined): Row {
  return chosen((memory ?? register ?? undefinedRow).name, true, (instruction) =>
    instruction.isMemory ? (memory ?? undefinedRow) : (register ?? undefinedRow),
  );
}

/** ModRM.rm (0 to 7) chooses, if it is a register. */
export function byRegisterOperand(name: string, rows: readonly (Row | undefined)[]): Row {
  return chosen(name, true, (instruction) => rows[instruction.rm & 7] ?? undefinedRow);
}

/** The mandatory prefix chooses; REP prefixes come before 66. */
export function byPrefix(
  name: string,
  rows: { readonly none?: Row; readonly p66?: Row; readonly f3?: Row; readonly f2?: Row },
  hasModrm = true,
): Row {
  const { none = undefinedRow, p66 = undefinedRow, f3 = undefinedRow, f2 = undefinedRow } = rows;
  return chosen(name, hasModrm, ({ repeat, operandSizePrefix }) =>
    repeat === 1 ? f3 : repeat === 2 ? f2 : operandSizePrefix ? p66 : none,
  );
}

/** REX.W chooses. */
export function byWidth(narrow: Row, wide: Row): Row {
  return chosen(narrow.name, true, (instruction) => (instruction.rexW ? wide : narrow));
}

/** An opcode map: 256 rows, filled in by topic. */
export type OpcodeMap = Row[];

/** A map in which nothing is defined. */
export function emptyMap(): OpcodeMap {
  return new Array<Row>(256).fill(undefinedRow);
}

/** Enters rows for consecutive opcodes. */
export function enter(map: OpcodeMap, opcode: number, ...rows: readonly Row[]): void {
  rows.forEach((entry, index) => {
    map[opcode + index] = entry;
  });
}
