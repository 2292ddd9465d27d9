import { registersAt, zeroSlot } from "../layout.ts";
import { type VectorOperation, vectorOperationNumber, vectorOperations } from "../vector-operations.ts";
import { type Instruction, t1, v0 } from "./instruction.ts";
import { type FormedKinds, kind, load, loadAligned, move, store, storeAligned } from "./kinds.ts";
import {
  byMemory,
  byPrefix,
  byRegister,
  byWidth,
  modrm,
  type OpcodeMap,
  type Row,
  type RowOptions,
  row,
  undefinedRow,
} from "./row.ts";

/** SSE to SSE4.2 and MMX: rows from the table of vector operations, and by hand the loads, stores and moves. */

const vectorKind = kind("vector");
const move64 = move[8] as number;
const move32 = move[4] as number;
const vector: RowOptions = { vector: true };

/** Mandatory prefixes. */
type Prefix = "none" | "p66" | "f3" | "f2";
type Slots = Partial<Record<Prefix, Row>>;

/** Writes the operation on slots. */
function emitVector(
  i: Instruction,
  operation: VectorOperation,
  number: number,
  destination: number,
  source: number,
): void {
  // NOTE: INSERTPS from memory takes element 0, whatever bits 7:6 say.
  const immediate = i.immediate & (i.isMemory && operation.name === "insertps" ? 0x3f : 0xff);
  if (operation.rare) {
    const size = i.rexW ? 8 : 4;
    i.helper("vector-rare", { destination, source, size, immediate: number, immediateHigh: 0, base: immediate });
    return;
  }
  const at = i.emitAuxiliary(vectorKind, destination, source, number);
  if (operation.immediate) i.setImmediate(at, immediate, 0);
}

/** Slot of ModRM.rm as an operation's source. */
function sourceSlot(i: Instruction, operation: VectorOperation): number {
  if (operation.source === "none") return 0;
  if (operation.source === "general") {
    if (!i.isMemory) return i.rmSlot(8);
    i.memory(load, operation.memory, t1, 0);
    return t1;
  }
  if (!i.isMemory) return i.xmmRm();
  i.memory(operation.aligned ? loadAligned : load, operation.memory, v0, 0);
  return v0;
}

/** The row of a vector operation: operands as its properties say. */
function vectorRow(operation: VectorOperation, number: number): Row {
  const options: RowOptions = { vector: true, immediate: operation.immediate ? "byte" : "none" };
  const { name } = operation;
  if (operation.source === "none") {
    const shift = modrm(name, (i) => emitVector(i, operation, number, i.xmmRm(), 0), options);
    return byMemory(undefined, shift);
  }
  if (operation.reversed) {
    return modrm(
      name,
      (i) => {
        emitVector(i, operation, number, i.isMemory ? t1 : i.rmSlot(8), i.xmmReg());
        if (i.isMemory) i.memory(store, operation.memory, 0, t1);
      },
      options,
    );
  }
  const load = modrm(
    name,
    (i) => {
      const source = sourceSlot(i, operation);
      emitVector(i, operation, number, operation.destination === "general" ? i.regSlot(8) : i.xmmReg(), source);
    },
    options,
  );
  return operation.memory === 0 ? byMemory(undefined, load) : load;
}

/** Mandatory prefixes and maps, as the helper `mmx` is told. */
const mmxPrefix = { none: 0, p66: 0x66, f3: 0xf3, f2: 0xf2 } as const;
const mmxMap: Readonly<Record<number, number>> = { 15: 0, 56: 1, 58: 2 };

/** MOVD, MOVQ and MOVNTQ to memory. */
const mmxStores: ReadonlySet<number> = new Set([0x7e, 0x7f, 0xe7]);

/** An instruction on MMX registers: helper `mmx`. */
function mmxRow(name: string, map: number, opcode: number, options: RowOptions = {}, prefix: Prefix = "none"): Row {
  const source = opcode | (mmxPrefix[prefix] << 8) | ((mmxMap[map] as number) << 16);
  return modrm(
    name,
    (i) => {
      if (i.isMemory) i.effectiveAddress(8, mmxStores.has(opcode));
      const destination = i.modrm | (i.rex << 8);
      i.helper("mmx", { source, destination, immediate: i.immediate & 0xff });
    },
    options,
  );
}

/** The rows of one opcode by mandatory prefix; `extension` rows are chosen by ModRM.reg. */
class PrefixTable {
  readonly #slots = new Map<number, Slots>();
  readonly #groups = new Map<string, (Row | undefined)[]>();

  /** Where several rows of an opcode and a prefix differ by REX.W the narrow one comes first. */
  add(opcode: number, prefix: Prefix, entry: Row, wide = false): void {
    const slots = this.#slots.get(opcode) ?? {};
    this.#slots.set(opcode, slots);
    const narrow = slots[prefix];
    if (wide !== (narrow !== undefined))
      throw new RangeError(`two rows for opcode ${opcode.toString(16)}: ${entry.name}`);
    slots[prefix] = narrow === undefined ? entry : byWidth(narrow, entry);
  }

  addExtension(opcode: number, prefix: Prefix, extension: number, entry: Row): void {
    const key = `${opcode} ${prefix}`;
    let rows = this.#groups.get(key);
    if (rows === undefined) {
      rows = new Array<Row | undefined>(8).fill(undefined);
      this.#groups.set(key, rows);
      this.add(opcode, prefix, byRegister("shift", rows));
    }
    rows[extension] = entry;
  }

  enterInto(map: OpcodeMap): void {
    for (const [opcode, slots] of this.#slots) {
      if (map[opcode] !== undefinedRow) throw new RangeError(`opcode ${opcode.toString(16)} is taken`);
      map[opcode] = byPrefix("vector", slots);
    }
  }
}

/** Clears the upper 8 bytes of XMM register ModRM.reg. */
function clearUpper(i: Instruction): void {
  i.emit(move64, i.xmmReg() + 8, zeroSlot);
}

const movaps = vectorOperationNumber("movaps");
/** 16 bytes to ModRM.reg. */
const loadWhole = (name: string, kinds: FormedKinds): Row =>
  modrm(
    name,
    (i) => {
      if (i.isMemory) i.memory(kinds, 16, i.xmmReg(), 0);
      else i.emitAuxiliary(vectorKind, i.xmmReg(), i.xmmRm(), movaps);
    },
    vector,
  );
/** 16 bytes from ModRM.reg. */
const storeWhole = (name: string, kinds: FormedKinds): Row =>
  modrm(
    name,
    (i) => {
      if (i.isMemory) i.memory(kinds, 16, 0, i.xmmReg());
      else i.emitAuxiliary(vectorKind, i.xmmRm(), i.xmmReg(), movaps);
    },
    vector,
  );
/** To memory only. */
const storeOnly = (name: string, kinds: FormedKinds, size: number, offset = 0): Row =>
  byMemory(
    modrm(name, (i) => i.memory(kinds, size, 0, i.xmmReg() + offset), vector),
    undefined,
  );
/** Loads a half of a register, keeping the other; with a register operand moves half `from` of it. */
const loadHalf = (name: string, offset: 0 | 8, registerName?: string): Row =>
  byMemory(
    modrm(name, (i) => i.memory(load, 8, i.xmmReg() + offset, 0), vector),
    registerName === undefined
      ? undefined
      : modrm(registerName, (i) => i.emit(move64, i.xmmReg() + offset, i.xmmRm() + (8 - offset)), vector),
  );
/** Loads the low 4 or 8 bytes and clears the rest. */
const loadScalar = (name: string, size: 4 | 8): Row =>
  modrm(
    name,
    (i) => {
      i.memory(load, size, i.xmmReg(), 0);
      clearUpper(i);
    },
    vector,
  );
const storeScalar = (name: string, size: 4 | 8): Row =>
  modrm(name, (i) => i.memory(store, size, 0, i.xmmReg()), vector);
const movss = vectorOperationNumber("movss");
const moveSingle = (destination: number, source: number, i: Instruction): number =>
  i.emitAuxiliary(vectorKind, destination, source, movss);

/** MOVD, MOVQ from a general register or memory. */
const fromGeneral = (name: string, size: 4 | 8): Row =>
  modrm(
    name,
    (i) => {
      if (i.isMemory) i.memory(load, size, i.xmmReg(), 0);
      else i.emit(size === 8 ? move64 : move32, i.xmmReg(), i.rmSlot(size));
      clearUpper(i);
    },
    vector,
  );
const toGeneral = (name: string, size: 4 | 8): Row =>
  modrm(
    name,
    (i) => {
      if (i.isMemory) i.memory(store, size, 0, i.xmmReg());
      else i.emit(size === 8 ? move64 : move32, i.rmSlot(size), i.xmmReg());
    },
    vector,
  );

function addMoves(table: PrefixTable): void {
  table.add(0x10, "none", loadWhole("movups", load));
  table.add(0x10, "p66", loadWhole("movupd", load));
  table.add(
    0x10,
    "f3",
    byMemory(
      loadScalar("movss", 4),
      modrm("movss", (i) => moveSingle(i.xmmReg(), i.xmmRm(), i), vector),
    ),
  );
  table.add(
    0x10,
    "f2",
    byMemory(
      loadScalar("movsd", 8),
      modrm("movsd", (i) => i.emit(move64, i.xmmReg(), i.xmmRm()), vector),
    ),
  );
  table.add(0x11, "none", storeWhole("movups", store));
  table.add(0x11, "p66", storeWhole("movupd", store));
  table.add(
    0x11,
    "f3",
    byMemory(
      storeScalar("movss", 4),
      modrm("movss", (i) => moveSingle(i.xmmRm(), i.xmmReg(), i), vector),
    ),
  );
  table.add(
    0x11,
    "f2",
    byMemory(
      storeScalar("movsd", 8),
      modrm("movsd", (i) => i.emit(move64, i.xmmRm(), i.xmmReg()), vector),
    ),
  );
  table.add(0x12, "none", loadHalf("movlps", 0, "movhlps"));
  table.add(0x12, "p66", loadHalf("movlpd", 0));
  table.add(0x13, "none", storeOnly("movlps", store, 8));
  table.add(0x13, "p66", storeOnly("movlpd", store, 8));
  table.add(0x16, "none", loadHalf("movhps", 8, "movlhps"));
  table.add(0x16, "p66", loadHalf("movhpd", 8));
  table.add(0x17, "none", storeOnly("movhps", store, 8, 8));
  table.add(0x17, "p66", storeOnly("movhpd", store, 8, 8));
  table.add(0x28, "none", loadWhole("movaps", loadAligned));
  table.add(0x28, "p66", loadWhole("movapd", loadAligned));
  table.add(0x29, "none", storeWhole("movaps", storeAligned));
  table.add(0x29, "p66", storeWhole("movapd", storeAligned));
  table.add(0x2b, "none", storeOnly("movntps", storeAligned, 16));
  table.add(0x2b, "p66", storeOnly("movntpd", storeAligned, 16));
  table.add(0x6e, "p66", byWidth(fromGeneral("movd", 4), fromGeneral("movq", 8)));
  table.add(0x6f, "p66", loadWhole("movdqa", loadAligned));
  table.add(0x6f, "f3", loadWhole("movdqu", load));
  table.add(0x7e, "p66", byWidth(toGeneral("movd", 4), toGeneral("movq", 8)));
  table.add(
    0x7e,
    "f3",
    modrm(
      "movq",
      (i) => {
        if (i.isMemory) i.memory(load, 8, i.xmmReg(), 0);
        else i.emit(move64, i.xmmReg(), i.xmmRm());
        clearUpper(i);
      },
      vector,
    ),
  );
  table.add(0x7f, "p66", storeWhole("movdqa", storeAligned));
  table.add(0x7f, "f3", storeWhole("movdqu", store));
  table.add(
    0xd6,
    "p66",
    modrm(
      "movq",
      (i) => {
        if (i.isMemory) {
          i.memory(store, 8, 0, i.xmmReg());
        } else {
          i.emit(move64, i.xmmRm(), i.xmmReg());
          i.emit(move64, i.xmmRm() + 8, zeroSlot);
        }
      },
      vector,
    ),
  );
  table.add(0xe7, "p66", storeOnly("movntdq", storeAligned, 16));
  table.add(
    0xf0,
    "f2",
    byMemory(
      modrm("lddqu", (i) => i.memory(load, 16, i.xmmReg(), 0), vector),
      undefined,
    ),
  );
}

const rdi = registersAt + 56;
/** MASKMOVDQU and MASKMOVQ store to DS:rDI. */
function addMaskedStores(table: PrefixTable): void {
  const number = vectorOperationNumber("maskmovdqu");
  const operation = vectorOperations[number] as VectorOperation;
  const masked = modrm(
    "maskmovdqu",
    (i) => {
      i.useRegisterAddress(rdi, zeroSlot);
      i.effectiveAddress();
      emitVector(i, operation, number, i.xmmReg(), i.xmmRm());
    },
    vector,
  );
  table.add(0xf7, "p66", byMemory(undefined, masked));
  const mmx = mmxRow("maskmovq", 0x0f, 0xf7);
  const maskedMmx: Row = {
    ...mmx,
    emit: (i) => {
      i.useRegisterAddress(rdi, zeroSlot);
      i.effectiveAddress();
      mmx.emit(i);
    },
  };
  table.add(0xf7, "none", byMemory(undefined, maskedMmx));
}

/** MMX instructions without a twin, and those between MMX and XMM registers. */
function addMmxMoves(table: PrefixTable): void {
  const onlyMemory = (entry: Row): Row => byMemory(entry, undefined);
  const onlyRegister = (entry: Row): Row => byMemory(undefined, entry);
  const byte: RowOptions = { immediate: "byte" };
  table.add(0x6e, "none", mmxRow("movd", 0x0f, 0x6e)); // MOVD, with REX.W MOVQ
  table.add(0x7e, "none", mmxRow("movd", 0x0f, 0x7e));
  table.add(0x6f, "none", mmxRow("movq", 0x0f, 0x6f));
  table.add(0x7f, "none", mmxRow("movq", 0x0f, 0x7f));
  table.add(0x70, "none", mmxRow("pshufw", 0x0f, 0x70, byte));
  table.add(0xc4, "none", mmxRow("pinsrw", 0x0f, 0xc4, byte));
  table.add(0xc5, "none", onlyRegister(mmxRow("pextrw", 0x0f, 0xc5, byte)));
  table.add(0xe7, "none", onlyMemory(mmxRow("movntq", 0x0f, 0xe7)));
  const conversions = [
    [0x2a, "cvtpi2ps", "cvtpi2pd"],
    [0x2c, "cvttps2pi", "cvttpd2pi"],
    [0x2d, "cvtps2pi", "cvtpd2pi"],
  ] as const;
  for (const [opcode, single, double] of conversions) {
    table.add(opcode, "none", mmxRow(single, 0x0f, opcode, vector));
    table.add(opcode, "p66", mmxRow(double, 0x0f, opcode, vector, "p66"));
  }
  table.add(0xd6, "f3", onlyRegister(mmxRow("movq2dq", 0x0f, 0xd6, vector, "f3")));
  table.add(0xd6, "f2", onlyRegister(mmxRow("movdq2q", 0x0f, 0xd6, vector, "f2")));
}

/** The parts of {@link VectorOperation.encoding}. */
function parseEncoding(encoding: string) {
  const match = /^(?:(66|f3|f2) )?(w )?0f (?:(38|3a) )?([0-9a-f]{2})(?: \/([0-7]))?$/.exec(encoding);
  if (match === null) throw new RangeError(`not an encoding: ${encoding}`);
  const prefix: Prefix = match[1] === undefined ? "none" : match[1] === "66" ? "p66" : (match[1] as "f3" | "f2");
  return {
    prefix,
    wide: match[2] !== undefined,
    map: Number.parseInt(match[3] ?? "0f", 16),
    opcode: Number.parseInt(match[4] as string, 16),
    extension: match[5] === undefined ? undefined : Number(match[5]),
  };
}

/** Enters SSE and MMX into the maps 0F, 0F 38 and 0F 3A. */
export function enterVectors(twoByte: OpcodeMap, map38: OpcodeMap, map3a: OpcodeMap): void {
  const tables = new Map([
    [0x0f, new PrefixTable()],
    [0x38, new PrefixTable()],
    [0x3a, new PrefixTable()],
  ]);
  const main = tables.get(0x0f) as PrefixTable;
  addMoves(main);
  addMaskedStores(main);
  addMmxMoves(main);
  vectorOperations.forEach((operation, number) => {
    if (operation.encoding === "" || operation.name === "maskmovdqu") return;
    const { prefix, wide, map, opcode, extension } = parseEncoding(operation.encoding);
    const table = tables.get(map) as PrefixTable;
    const entry = vectorRow(operation, number);
    const options: RowOptions = { immediate: operation.immediate ? "byte" : "none" };
    const mmxEntry = mmxRow(operation.name, map, opcode, options);
    const mmx = operation.memory === 0 ? byMemory(undefined, mmxEntry) : mmxEntry;
    if (extension === undefined) {
      table.add(opcode, prefix, entry, wide);
      if (operation.mmx) table.add(opcode, "none", mmx);
    } else {
      table.addExtension(opcode, prefix, extension, entry);
      if (operation.mmx) table.addExtension(opcode, "none", extension, mmx);
    }
  });
  const map38Table = tables.get(0x38) as PrefixTable;
  map38Table.add(0x2a, "p66", byMemory(loadWhole("movntdqa", loadAligned), undefined));
  const pextrw = vectorOperationNumber("pextrw");
  const extractWord: VectorOperation = { ...(vectorOperations[pextrw] as VectorOperation), memory: 2, reversed: true };
  (tables.get(0x3a) as PrefixTable).add(0x15, "p66", vectorRow(extractWord, pextrw));

  main.enterInto(twoByte);
  map38Table.enterInto(map38);
  (tables.get(0x3a) as PrefixTable).enterInto(map3a);
  const emms = row("emms", (i) => i.helper("empty-mmx-state"));
  twoByte[0x77] = byPrefix("emms", { none: emms }, false);
}
