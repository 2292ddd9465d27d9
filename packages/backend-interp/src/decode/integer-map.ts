import { zeroSlot } from "../layout.ts";
import { type Instruction, rax, rcx, rdx, t1 } from "./instruction.ts";
import { kind, loadModify, move, type SizedKinds, sized, store, storeBack } from "./kinds.ts";
import { byRegister, enter, modrm, type OpcodeMap, type Row, type RowOptions, row } from "./row.ts";

/** The integer instructions of the one- and two-byte opcode maps: arithmetic, moves, shifts, bits. */

/** Operand size: opcodes with bit 0 clear work on bytes. */
const byteOrWord = (i: Instruction): number => ((i.opcode & 1) === 0 ? 1 : i.operandSize);

const compare = sized("compare");
const test = sized("test");
const lockable: RowOptions = { lockable: true };

/** d = d op s for ModRM.rm op= ModRM.reg. Nothing is written back for `compare` and `test`. */
function toRm(kinds: SizedKinds): (i: Instruction) => void {
  if (kinds === compare || kinds === test) {
    return (i) => {
      const size = byteOrWord(i);
      i.emit(kinds[size] as number, i.loadRm(size), i.regSlot(size));
    };
  }
  return (i) => {
    const size = byteOrWord(i);
    i.emit(kinds[size] as number, i.modifyRm(size), i.regSlot(size));
    i.storeRm(size);
  };
}

/** ModRM.reg op= ModRM.rm. */
function fromRm(kinds: SizedKinds): (i: Instruction) => void {
  return (i) => {
    const size = byteOrWord(i);
    const source = i.loadRm(size);
    i.emit(kinds[size] as number, i.regSlot(size), source);
  };
}

/** ModRM.rm op= immediate. */
function constantToRm(kinds: SizedKinds): (i: Instruction) => void {
  if (kinds === compare || kinds === test) {
    return (i) => {
      const size = byteOrWord(i);
      i.emitConstant(kinds[size] as number, i.loadRm(size), i.immediate, i.immediateHigh);
    };
  }
  return (i) => {
    const size = byteOrWord(i);
    i.emitConstant(kinds[size] as number, i.modifyRm(size), i.immediate, i.immediateHigh);
    i.storeRm(size);
  };
}

/** AL, AX, EAX or RAX op= immediate. */
function constantToAccumulator(kinds: SizedKinds): (i: Instruction) => void {
  return (i) => {
    i.emitConstant(kinds[byteOrWord(i)] as number, rax, i.immediate, i.immediateHigh);
  };
}

/** ModRM.rm = op ModRM.rm. */
function unary(kinds: SizedKinds): (i: Instruction) => void {
  return (i) => {
    const size = byteOrWord(i);
    i.emit(kinds[size] as number, i.modifyRm(size), 0);
    i.storeRm(size);
  };
}

/** The eight arithmetic operations: name, operation; opcodes 8 × index, and /index of group 1. */
const arithmetic = (
  [
    ["add", "add"],
    ["or", "or"],
    ["adc", "adc"],
    ["sbb", "sbb"],
    ["and", "and"],
    ["sub", "subtract"],
    ["xor", "xor"],
    ["cmp", "compare"],
  ] as const
).map(([name, operation]) => ({ name, kinds: operation === "compare" ? compare : sized(operation) }));

/** Shifts and rotations: /index of group 2. /6 is an alias of SHL. */
const shifts = (
  [
    ["rol", "rotate-left"],
    ["ror", "rotate-right"],
    ["rcl", "rotate-carry-left"],
    ["rcr", "rotate-carry-right"],
    ["shl", "shift-left"],
    ["shr", "shift-right"],
    ["sal", "shift-left"],
    ["sar", "shift-arithmetic"],
  ] as const
).map(([name, operation]) => ({ name, kinds: sized(operation) }));

function shiftGroup(count: "immediate" | "one" | "cl"): Row {
  return byRegister(
    "shift",
    shifts.map(({ name, kinds }) =>
      modrm(
        name,
        (i) => {
          const size = byteOrWord(i);
          const operand = i.modifyRm(size);
          if (count === "cl") i.emit(kinds[size] as number, operand, rcx);
          else i.emitConstant(kinds[size] as number, operand, count === "one" ? 1 : i.immediate & 0xff, 0);
          i.storeRm(size);
        },
        { immediate: count === "immediate" ? "byte" : "none" },
      ),
    ),
  );
}

const negate = modrm("neg", unary(sized("negate")), lockable);
const not = modrm("not", unary(sized("not")), lockable);

/** MUL, IMUL, DIV, IDIV with the accumulator. */
function wide(name: string, operation: string): Row {
  const kinds = sized(operation);
  return modrm(name, (i) => {
    const size = byteOrWord(i);
    i.emit(kinds[size] as number, 0, i.loadRm(size));
  });
}

/** Group 3; `immediate` is that of TEST. /1 is an alias of /0. */
function group3(immediate: "byte" | "operand"): Row {
  const testConstant = modrm("test", constantToRm(test), { immediate });
  return byRegister("group 3", [
    testConstant,
    testConstant,
    not,
    negate,
    wide("mul", "multiply-wide"),
    wide("imul", "multiply-wide-signed"),
    wide("div", "divide"),
    wide("idiv", "divide-signed"),
  ]);
}

export const incrementRm = modrm("inc", unary(sized("increment")), lockable);
export const decrementRm = modrm("dec", unary(sized("decrement")), lockable);

const exchangeKinds = sized("exchange");
function exchange(i: Instruction): void {
  const size = byteOrWord(i);
  const other = i.regSlot(size);
  if (i.isMemory) {
    i.memory(loadModify, size, t1, 0);
    i.emit(storeBack[size] as number, 0, other);
    i.emit(move[size] as number, other, t1);
  } else {
    i.emit(exchangeKinds[size] as number, i.rmSlot(size), other);
  }
}

function moveToRm(i: Instruction): void {
  const size = byteOrWord(i);
  if (i.isMemory) i.memory(store, size, 0, i.regSlot(size));
  else i.emit(move[size] as number, i.rmSlot(size), i.regSlot(size));
}

/** Loads ModRM.rm into a register without a temporary. */
function moveFromRm(i: Instruction): void {
  const size = byteOrWord(i);
  i.loadInto(i.regSlot(size), size);
}

function moveConstantToRm(i: Instruction): void {
  const size = byteOrWord(i);
  if (i.isMemory) i.storeConstant(size);
  else i.emitConstant(move[size] as number, i.rmSlot(size), i.immediate, i.immediateHigh);
}

/** MOVZX, MOVSX, MOVSXD: from `from` bytes. */
function extend(from: number, names: Readonly<Record<number, string>>): (i: Instruction) => void {
  const kinds: Record<number, number> = {};
  for (const [size, name] of Object.entries(names)) kinds[Number(size)] = kind(name as Parameters<typeof kind>[0]);
  return (i) => {
    const source = i.loadRm(from);
    i.emit(kinds[i.operandSize] as number, i.regSlot(i.operandSize), source);
  };
}
// NOTE: the 32 bit forms clear the upper half, so zero extension to 64 bits is the same.
const zeroExtend8 = { 2: "zero-extend8-to16", 4: "zero-extend8-to32", 8: "zero-extend8-to32" };
const zeroExtend16 = { 2: "move16", 4: "zero-extend16-to32", 8: "zero-extend16-to32" };
const signExtend8 = { 2: "sign-extend8-to16", 4: "sign-extend8-to32", 8: "sign-extend8-to64" };
const signExtend16 = { 2: "move16", 4: "sign-extend16-to32", 8: "sign-extend16-to64" };

const multiplyConstant = sized("multiply-signed-immediate");
function multiplyByConstant(i: Instruction): void {
  const size = i.operandSize;
  const source = i.loadRm(size);
  const at = i.emit(multiplyConstant[size] as number, i.regSlot(size), source);
  i.setImmediate(at, i.immediate, i.immediateHigh);
}

const extendAccumulator = sized("extend-accumulator");
const signToData = sized("sign-to-data");

const conditions = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"] as const;
const moveIf = sized("move-if");
const setIf = kind("set-if");

function setCondition(i: Instruction): void {
  const code = i.opcode & 15;
  if (i.isMemory) {
    i.emitAuxiliary(setIf, t1, 0, code);
    i.memory(store, 1, 0, t1);
  } else {
    i.emitAuxiliary(setIf, i.rmSlot(1), 0, code);
  }
}

/** SHLD, SHRD. */
function doubleShift(operation: string, byConstant: boolean): (i: Instruction) => void {
  const kinds = sized(operation);
  return (i) => {
    const size = i.operandSize;
    const operand = i.modifyRm(size);
    const at = i.emit(kinds[size] as number, operand, i.regSlot(size));
    if (byConstant) {
      i.setImmediate(at, i.immediate & 0xff, 0);
      i.setBaseToImmediate(at);
    } else {
      i.setLinks(at, rcx, zeroSlot, 0);
    }
    i.storeRm(size);
  };
}

const bitOperations = (
  [
    ["bt", "bit-test"],
    ["bts", "bit-test-set"],
    ["btr", "bit-test-reset"],
    ["btc", "bit-test-complement"],
  ] as const
).map(([name, operation]) => ({ name, kinds: sized(operation), changes: name !== "bt" }));
type BitOperation = (typeof bitOperations)[number];

/** BT and its like with the number in a register: in memory the operand is a string of bits (Intel SDM Vol. 1 §5.1.6). */
function bitByRegister({ name, kinds, changes }: BitOperation): Row {
  return modrm(
    name,
    (i) => {
      const size = i.operandSize;
      const number = i.regSlot(size);
      if (i.isMemory) i.addBitOffset(number);
      i.emit(kinds[size] as number, changes ? i.modifyRm(size) : i.loadRm(size), number);
      if (changes) i.storeRm(size);
    },
    { lockable: changes },
  );
}

function bitByConstant({ name, kinds, changes }: BitOperation): Row {
  return modrm(
    name,
    (i) => {
      const size = i.operandSize;
      i.emitConstant(
        kinds[size] as number,
        changes ? i.modifyRm(size) : i.loadRm(size),
        i.immediate & (size * 8 - 1),
        0,
      );
      if (changes) i.storeRm(size);
    },
    { lockable: changes, immediate: "byte" },
  );
}

/** An operation from ModRM.rm to ModRM.reg with the operand size. */
export function scan(name: string, operation: string): Row {
  const kinds = sized(operation);
  return modrm(name, (i) => {
    const source = i.loadRm(i.operandSize);
    i.emit(kinds[i.operandSize] as number, i.regSlot(i.operandSize), source);
  });
}

const compareExchange = toRm(sized("compare-exchange"));
const exchangeAdd = toRm(sized("exchange-add"));

const byteSwap = sized("byte-swap");
function swapBytes(i: Instruction): void {
  const slot = i.register((i.opcode & 7) | i.rexB, i.operandSize);
  // The SDM leaves BSWAP of 16 bits undefined; processors clear them.
  if (i.operandSize === 2) i.emit(move[2] as number, slot, zeroSlot);
  else i.emit(byteSwap[i.operandSize] as number, slot, 0);
}

/** Registers in the low three bits of the opcode. */
const registerNumbers = [0, 1, 2, 3, 4, 5, 6, 7] as const;

/** Enters the integer instructions into the one-byte map. */
export function enterIntegers(map: OpcodeMap): void {
  arithmetic.forEach(({ name, kinds }, index) => {
    const options: RowOptions = { lockable: kinds !== compare };
    enter(
      map,
      index * 8,
      modrm(name, toRm(kinds), options), // Eb, Gb
      modrm(name, toRm(kinds), options), // Ev, Gv
      modrm(name, fromRm(kinds)), // Gb, Eb
      modrm(name, fromRm(kinds)), // Gv, Ev
      row(name, constantToAccumulator(kinds), { immediate: "byte" }), // AL, Ib
      row(name, constantToAccumulator(kinds), { immediate: "operand" }), // rAX, Iz
    );
  });
  const group1 = (immediate: "byte" | "operand") =>
    byRegister(
      "group 1",
      arithmetic.map(({ name, kinds }) => modrm(name, constantToRm(kinds), { immediate, lockable: kinds !== compare })),
    );
  const legacyGroup1 = byRegister(
    "group 1",
    arithmetic.map(({ name, kinds }) =>
      modrm(name, constantToRm(kinds), { immediate: "byte", lockable: kinds !== compare, availability: "legacy" }),
    ),
  );
  enter(map, 0x80, group1("byte"), group1("operand"), legacyGroup1, group1("byte"));

  const increment = sized("increment");
  const decrement = sized("decrement");
  for (const number of registerNumbers) {
    // 40-4F are REX prefixes in 64-bit mode.
    map[0x40 + number] = row("inc", (i) => i.emit(increment[i.operandSize] as number, i.register(number, 2), 0));
    map[0x48 + number] = row("dec", (i) => i.emit(decrement[i.operandSize] as number, i.register(number, 2), 0));
    map[0x90 + number] = row("xchg", (i) => {
      i.emit(exchangeKinds[i.operandSize] as number, i.register(number | i.rexB, i.operandSize), rax);
    });
    map[0xb0 + number] = row(
      "mov",
      (i) => i.emitConstant(move[1] as number, i.register(number | i.rexB, 1), i.immediate, i.immediateHigh),
      { immediate: "byte" },
    );
    map[0xb8 + number] = row(
      "mov",
      (i) => {
        const slot = i.register(number | i.rexB, i.operandSize);
        i.emitConstant(move[i.operandSize] as number, slot, i.immediate, i.immediateHigh);
      },
      { immediate: "full" },
    );
  }
  const nop = row("nop", (i) => i.nothing());
  const pause = row("pause", (i) => i.helper("pause"));
  const exchangeWithR8 = map[0x90] as Row;
  map[0x90] = { ...nop, select: (i) => (i.rexB !== 0 ? exchangeWithR8 : i.repeat === 1 ? pause : nop) };

  enter(map, 0x69, modrm("imul", multiplyByConstant, { immediate: "operand" }));
  enter(map, 0x6b, modrm("imul", multiplyByConstant, { immediate: "byte" }));
  enter(map, 0x84, modrm("test", toRm(test)), modrm("test", toRm(test)));
  enter(map, 0x86, modrm("xchg", exchange, lockable), modrm("xchg", exchange, lockable));
  enter(map, 0x88, modrm("mov", moveToRm), modrm("mov", moveToRm), modrm("mov", moveFromRm), modrm("mov", moveFromRm));
  enter(
    map,
    0x98,
    row("cwde", (i) => i.emit(extendAccumulator[i.operandSize] as number, rax, rax)), // CBW, CWDE, CDQE
    row("cdq", (i) => i.emit(signToData[i.operandSize] as number, rdx, rax)), // CWD, CDQ, CQO
  );
  enter(
    map,
    0xa8,
    row("test", constantToAccumulator(test), { immediate: "byte" }),
    row("test", constantToAccumulator(test), { immediate: "operand" }),
  );
  enter(map, 0xc0, shiftGroup("immediate"), shiftGroup("immediate"));
  enter(map, 0xd0, shiftGroup("one"), shiftGroup("one"), shiftGroup("cl"), shiftGroup("cl"));
  const moveConstant = (immediate: "byte" | "operand") =>
    byRegister("group 11", [modrm("mov", moveConstantToRm, { immediate })]);
  enter(map, 0xc6, moveConstant("byte"), moveConstant("operand"));
  enter(map, 0xf6, group3("byte"), group3("operand"));

  const complementCarry = kind("complement-carry");
  const clearCarry = kind("clear-carry");
  const setCarry = kind("set-carry");
  const clearDirection = kind("clear-direction");
  const setDirection = kind("set-direction");
  const storeFlags = kind("store-ah-into-flags");
  const loadFlags = kind("load-flags-into-ah");
  enter(
    map,
    0x9e,
    row("sahf", (i) => i.emit(storeFlags, 0, 0)),
    row("lahf", (i) => i.emit(loadFlags, 0, 0)),
  );
  enter(
    map,
    0xf5,
    row("cmc", (i) => i.emit(complementCarry, 0, 0)),
  );
  enter(
    map,
    0xf8,
    row("clc", (i) => i.emit(clearCarry, 0, 0)),
    row("stc", (i) => i.emit(setCarry, 0, 0)),
  );
  enter(
    map,
    0xfc,
    row("cld", (i) => i.emit(clearDirection, 0, 0)),
    row("std", (i) => i.emit(setDirection, 0, 0)),
  );
}

const signExtend32 = kind("sign-extend32-to64");
/** MOVSXD, opcode 63 in 64-bit mode; a plain move unless the operand size is 64 bits. */
export const moveSignExtended32 = modrm("movsxd", (i) => {
  const size = i.operandSize;
  if (size !== 8) return i.loadInto(i.regSlot(size), size);
  const source = i.loadRm(4);
  i.emit(signExtend32, i.regSlot(8), source);
});

/** Enters the integer instructions into the two-byte map (0F xx). */
export function enterTwoByteIntegers(map: OpcodeMap): void {
  conditions.forEach((condition, code) => {
    map[0x40 + code] = modrm(`cmov${condition}`, (i) => {
      const source = i.loadRm(i.operandSize);
      i.emitAuxiliary(moveIf[i.operandSize] as number, i.regSlot(i.operandSize), source, code);
    });
    map[0x90 + code] = modrm(`set${condition}`, setCondition);
  });
  const [test, set, reset, complement] = bitOperations as [BitOperation, BitOperation, BitOperation, BitOperation];
  enter(map, 0xa3, bitByRegister(test));
  enter(map, 0xab, bitByRegister(set));
  enter(map, 0xb3, bitByRegister(reset));
  enter(map, 0xbb, bitByRegister(complement));
  enter(
    map,
    0xba,
    byRegister("group 8", [undefined, undefined, undefined, undefined, ...bitOperations.map(bitByConstant)]),
  );
  enter(
    map,
    0xa4,
    modrm("shld", doubleShift("shift-double-left", true), { immediate: "byte" }),
    modrm("shld", doubleShift("shift-double-left", false)),
  );
  enter(
    map,
    0xac,
    modrm("shrd", doubleShift("shift-double-right", true), { immediate: "byte" }),
    modrm("shrd", doubleShift("shift-double-right", false)),
  );
  enter(map, 0xaf, scan("imul", "multiply-signed"));
  enter(map, 0xb0, modrm("cmpxchg", compareExchange, lockable), modrm("cmpxchg", compareExchange, lockable));
  enter(map, 0xc0, modrm("xadd", exchangeAdd, lockable), modrm("xadd", exchangeAdd, lockable));
  enter(map, 0xb6, modrm("movzx", extend(1, zeroExtend8)), modrm("movzx", extend(2, zeroExtend16)));
  enter(map, 0xbe, modrm("movsx", extend(1, signExtend8)), modrm("movsx", extend(2, signExtend16)));
  for (const number of registerNumbers) map[0xc8 + number] = row("bswap", swapBytes);
}
