import type { HelperName } from "../helper-names.ts";
import { zeroSlot } from "../layout.ts";
import { type Instruction, rax, rbp, rdx, rsp, t1 } from "./instruction.ts";
import { decrementRm, incrementRm, moveSignExtended32 } from "./integer-map.ts";
import { kind, load, move, store } from "./kinds.ts";
import {
  byMemory,
  byRegister,
  enter,
  modrm,
  type OpcodeMap,
  type Row,
  type RowOptions,
  row,
  undefinedRow,
} from "./row.ts";

/** Stack, control transfers, strings, ports and segments of the one-byte opcode map. */

/** Operations on the stack by operand size in bytes; {@link stackSize} says when they may be used. */
const byStackSize = (name: "push" | "pop" | "call" | "return" | "jump-indirect" | "call-indirect") => ({
  4: kind(`${name}32`),
  8: kind(`${name}64`),
});
const pushKinds = byStackSize("push");
const popKinds = byStackSize("pop");
const jump = kind("jump");
const jumpIf = ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const).map((code) => kind(`jump-if-${code}`));
const callKinds = byStackSize("call");
const returnKinds = byStackSize("return");
const jumpIndirectKinds = byStackSize("jump-indirect");
const callIndirectKinds = byStackSize("call-indirect");
const loop64 = kind("loop64");
const zeroExtend8 = kind("zero-extend8-to32");
const move64 = move[8] as number;

const wide: RowOptions = { wide: true };
const legacy: RowOptions = { availability: "legacy" };

/** 64-bit mode with an operand size of 64 bits. */
const isLong = (i: Instruction): boolean => i.operandSize === 8;
/** The operand size, if the stack's operations know it: 64 bits in 64-bit mode, 32 with a flat stack of 32 bits; else undefined. */
function stackSize({ operandSize, mode }: Instruction): 4 | 8 | undefined {
  if (operandSize === 8) return 8;
  return operandSize === 4 && !mode.long && mode.flat && mode.stackSize === 4 ? 4 : undefined;
}
/** Far transfers with REX.W: AMD processors have no 64-bit offsets there. */
const farSize = (i: Instruction): number => Math.min(i.operandSize, 4);
const portSize = (i: Instruction): number => ((i.opcode & 1) === 0 ? 1 : Math.min(i.operandSize, 4));

function push(i: Instruction, source: number): void {
  const size = stackSize(i);
  if (size !== undefined) i.emit(pushKinds[size], 0, source);
  else i.helper("push", { source });
}

function pushConstant(i: Instruction): void {
  const size = stackSize(i);
  if (size !== undefined) {
    i.emitConstant(pushKinds[size], 0, i.immediate, i.immediateHigh);
  } else {
    i.emitConstant(move[i.operandSize] as number, t1, i.immediate, i.immediateHigh);
    i.helper("push", { source: t1 });
  }
}

function pop(i: Instruction, destination: number): void {
  const size = stackSize(i);
  if (size !== undefined) i.emit(popKinds[size], destination, 0);
  else i.helper("pop", { destination });
}

/** Reads the low and high half of a distance for a helper's immediate. */
function distanceOperands(distance: number): { immediate: number; immediateHigh: number } {
  return { immediate: distance | 0, immediateHigh: Math.floor(distance / 0x1_0000_0000) };
}

function jumpRelative(i: Instruction): void {
  const distance = i.branchDistance();
  if (i.isDirect(distance)) i.branch(jump, distance, 0);
  else i.helper("jump-near", distanceOperands(distance));
}

/** Jcc: the condition is in the opcode's low four bits. */
export function jumpConditional(i: Instruction): void {
  const code = i.opcode & 15;
  const distance = i.branchDistance();
  if (i.isDirect(distance)) i.branch(jumpIf[code] as number, distance, code);
  else i.helper("jump-if-near", { source: code, ...distanceOperands(distance) });
}

function callRelative(i: Instruction): void {
  const distance = i.branchDistance();
  const size = stackSize(i);
  if (size !== undefined && i.isDirect(distance)) i.branch(callKinds[size], distance, 0);
  else i.helper("call-near", distanceOperands(distance));
}

function loop(i: Instruction): void {
  const code = i.opcode & 3;
  const distance = i.branchDistance();
  if (i.addressSize === 8 && i.isDirect(distance)) i.branch(loop64, distance, code);
  else i.helper("loop", { source: code, destination: i.addressSize, ...distanceOperands(distance) });
}

function returnNear(i: Instruction): void {
  const size = stackSize(i);
  if (size !== undefined) i.indirect(returnKinds[size], 0, i.immediate);
  else i.helper("return-near", { immediate: i.immediate, immediateHigh: 0 });
}

const jumpIndirect = modrm(
  "jmp",
  (i) => {
    const source = i.loadRm(i.operandSize);
    const size = stackSize(i);
    if (size !== undefined) i.indirect(jumpIndirectKinds[size], source, 0);
    else i.helper("jump-indirect", { source });
  },
  wide,
);

const callIndirect = modrm(
  "call",
  (i) => {
    let source = i.loadRm(i.operandSize);
    const size = stackSize(i);
    if (size === undefined) return i.helper("call-indirect", { source });
    if (source === rsp) {
      // The target is RSP before the return address was pushed.
      i.emit(move64, t1, rsp);
      source = t1;
    }
    i.indirect(callIndirectKinds[size], source, i.offset + i.length);
  },
  wide,
);

function farMemory(name: string, helper: HelperName): Row {
  return byMemory(
    modrm(name, (i) => {
      i.effectiveAddress(farSize(i) + 2);
      i.helper(helper, { size: farSize(i) });
    }),
    undefined,
  );
}

/** CALL and JMP with the pointer in the instruction: immediate = offset | selector << 32. */
function farConstant(name: string, helper: HelperName): Row {
  return row(name, (i) => i.helper(helper, { immediate: i.immediate, immediateHigh: i.immediateHigh }), {
    immediate: "far",
    availability: "legacy",
  });
}

function leave(i: Instruction): void {
  if (!isLong(i)) {
    i.helper("leave");
    return;
  }
  i.useRegisterAddress(rbp, zeroSlot);
  i.memory(load, 8, t1, 0);
  i.loadEffectiveAddressOf(rsp, rbp, 8);
  i.emit(move64, rbp, t1);
}

/** Element size of a string instruction in the operation, address size, repeat prefix and source segment: see helper-names.ts. */
function string(name: string, helper: HelperName, ports = false): Row {
  return row(name, (i) => {
    const size = (i.opcode & 1) === 0 ? 1 : ports ? Math.min(i.operandSize, 4) : i.operandSize;
    i.helper(helper, { size, destination: i.addressSize, source: i.repeat, index: i.dataSegment });
  });
}

/** A helper without operands. */
const simple = (name: string, helper: HelperName, options: RowOptions = {}): Row =>
  row(name, (i) => i.helper(helper), options);

/** LDS, LES, LFS, LGS, LSS. */
export function farPointer(name: string, segment: number, options: RowOptions = {}): Row {
  return byMemory(
    modrm(
      name,
      (i) => {
        const size = farSize(i);
        i.effectiveAddress(size + 2);
        i.helper("load-far-pointer", { size, source: segment, destination: i.regSlot(size) });
      },
      options,
    ),
    undefined,
  );
}

/** PUSH and POP of a segment register. */
export function segmentPush(segment: number, options: RowOptions): Row {
  return row("push", (i) => i.helper("push-segment", { source: segment }), { ...options, wide: true });
}
export function segmentPop(segment: number, options: RowOptions): Row {
  return row("pop", (i) => i.helper("pop-segment", { destination: segment }), { ...options, wide: true });
}

const fromSegment = modrm("mov", (i) => {
  if (i.isMemory) {
    i.effectiveAddress(2, true);
    i.helper("store-segment", { source: i.reg, size: 2 });
  } else {
    i.helper("store-segment", { source: i.reg, destination: i.rmSlot(2) });
  }
});
const toSegment = modrm("mov", (i) => {
  i.helper("load-segment", { destination: i.reg & 7, source: i.loadRm(2) });
});
/** Segment register numbers 6 and 7 do not exist. NOTE: REX.R counts. */
const moveFromSegment: Row = { ...fromSegment, select: (i) => (i.reg < 6 ? fromSegment : undefinedRow) };
const moveToSegment: Row = { ...toSegment, select: (i) => (i.reg < 6 && i.reg !== 1 ? toSegment : undefinedRow) };

const popMemory = modrm("pop", (i) => (i.isMemory ? i.popMemory() : pop(i, i.rmSlot(i.operandSize))), wide);

const portConstant = (i: Instruction) => ({ size: portSize(i), immediate: i.immediate & 0xff });
const portInDx = (i: Instruction) => ({ size: portSize(i), source: rdx });

/** ARPL in protected mode, MOVSXD in 64-bit mode. */
const adjustPrivilege = modrm(
  "arpl",
  (i) => {
    if (i.isMemory) i.effectiveAddress(2);
    i.helper("adjust-privilege-level", {
      size: 2,
      destination: i.isMemory ? 0 : i.rmSlot(2),
      source: i.regSlot(2),
    });
  },
  { availability: "protected" },
);

/** Enters stack, control, string, port and segment instructions into the one-byte map. */
export function enterControl(map: OpcodeMap): void {
  map[0x06] = segmentPush(0, legacy);
  map[0x07] = segmentPop(0, legacy);
  map[0x0e] = segmentPush(1, legacy);
  map[0x16] = segmentPush(2, legacy);
  map[0x17] = segmentPop(2, legacy);
  map[0x1e] = segmentPush(3, legacy);
  map[0x1f] = segmentPop(3, legacy);
  map[0x27] = simple("daa", "decimal-adjust-add", legacy);
  map[0x2f] = simple("das", "decimal-adjust-subtract", legacy);
  map[0x37] = simple("aaa", "ascii-adjust-add", legacy);
  map[0x3f] = simple("aas", "ascii-adjust-subtract", legacy);

  for (let number = 0; number < 8; number++) {
    map[0x50 + number] = row("push", (i) => push(i, i.register(number | i.rexB, 8)), wide);
    map[0x58 + number] = row("pop", (i) => pop(i, i.register(number | i.rexB, 8)), wide);
  }
  map[0x60] = simple("pusha", "push-all", legacy);
  map[0x61] = simple("popa", "pop-all", legacy);
  // NOTE: what is not BOUND with a memory operand would be EVEX, which the CPU model lacks.
  map[0x62] = byMemory(
    modrm(
      "bound",
      (i) => {
        i.effectiveAddress(2 * i.operandSize);
        i.helper("bound", { source: i.regSlot(i.operandSize) });
      },
      legacy,
    ),
    undefined,
  );
  map[0x63] = { ...adjustPrivilege, select: (i) => (i.mode.long ? moveSignExtended32 : adjustPrivilege) };
  map[0x68] = row("push", pushConstant, { wide: true, immediate: "operand" });
  map[0x6a] = row("push", pushConstant, { wide: true, immediate: "byte" });
  enter(map, 0x6c, string("ins", "string-in", true), string("ins", "string-in", true));
  enter(map, 0x6e, string("outs", "string-out", true), string("outs", "string-out", true));
  for (let code = 0; code < 16; code++)
    map[0x70 + code] = row("jcc", jumpConditional, { wide: true, immediate: "byte" });

  map[0x8c] = moveFromSegment;
  map[0x8d] = byMemory(
    modrm("lea", (i) => i.loadEffectiveAddress(i.regSlot(i.operandSize))),
    undefined,
  );
  map[0x8e] = moveToSegment;
  // NOTE: 8F with another /reg would be XOP.
  map[0x8f] = byRegister("group 1a", [popMemory]);
  map[0x9a] = farConstant("callf", "call-far");
  map[0x9b] = simple("wait", "wait");
  map[0x9c] = simple("pushf", "push-flags", wide);
  map[0x9d] = simple("popf", "pop-flags", wide);

  enter(
    map,
    0xa0,
    row("mov", (i) => i.absolute(load, 1, rax, 0), { immediate: "address" }),
    row("mov", (i) => i.absolute(load, i.operandSize, rax, 0), { immediate: "address" }),
    row("mov", (i) => i.absolute(store, 1, 0, rax), { immediate: "address" }),
    row("mov", (i) => i.absolute(store, i.operandSize, 0, rax), { immediate: "address" }),
  );
  enter(map, 0xa4, string("movs", "string-move"), string("movs", "string-move"));
  enter(map, 0xa6, string("cmps", "string-compare"), string("cmps", "string-compare"));
  enter(map, 0xaa, string("stos", "string-store"), string("stos", "string-store"));
  enter(map, 0xac, string("lods", "string-load"), string("lods", "string-load"));
  enter(map, 0xae, string("scas", "string-scan"), string("scas", "string-scan"));

  map[0xc2] = row("ret", returnNear, { wide: true, immediate: "word" });
  map[0xc3] = row("ret", returnNear, wide);
  // NOTE: with a register operand C4 and C5 would be VEX.
  map[0xc4] = farPointer("les", 0, legacy);
  map[0xc5] = farPointer("lds", 3, legacy);
  map[0xc8] = row("enter", (i) => i.helper("enter", { immediate: i.immediate, immediateHigh: 0 }), {
    wide: true,
    immediate: "enter",
  });
  map[0xc9] = row("leave", leave, wide);
  map[0xca] = row("retf", (i) => i.helper("return-far", { immediate: i.immediate }), { immediate: "word" });
  map[0xcb] = simple("retf", "return-far");
  map[0xcc] = simple("int3", "breakpoint");
  map[0xcd] = row("int", (i) => i.helper("software-interrupt", { immediate: i.immediate & 0xff }), {
    immediate: "byte",
  });
  map[0xce] = simple("into", "interrupt-on-overflow", legacy);
  map[0xcf] = simple("iret", "interrupt-return");

  const decimal = (name: string, helper: HelperName) =>
    row(name, (i) => i.helper(helper, { immediate: i.immediate & 0xff }), {
      immediate: "byte",
      availability: "legacy",
    });
  map[0xd4] = decimal("aam", "ascii-adjust-multiply");
  map[0xd5] = decimal("aad", "ascii-adjust-divide");
  map[0xd6] = simple("salc", "set-al-from-carry", legacy);
  map[0xd7] = row("xlatb", (i) => {
    i.emit(zeroExtend8, t1, rax);
    i.useRegisterAddress(i.register(3, 8), t1);
    i.memory(load, 1, rax, 0);
  });

  for (let code = 0; code < 4; code++) map[0xe0 + code] = row("loop", loop, { wide: true, immediate: "byte" });
  enter(
    map,
    0xe4,
    row("in", (i) => i.helper("port-in", portConstant(i)), { immediate: "byte" }),
    row("in", (i) => i.helper("port-in", portConstant(i)), { immediate: "byte" }),
    row("out", (i) => i.helper("port-out", portConstant(i)), { immediate: "byte" }),
    row("out", (i) => i.helper("port-out", portConstant(i)), { immediate: "byte" }),
    row("call", callRelative, { wide: true, immediate: "operand" }),
    row("jmp", jumpRelative, { wide: true, immediate: "operand" }),
    farConstant("jmpf", "jump-far"),
    row("jmp", jumpRelative, { wide: true, immediate: "byte" }),
    row("in", (i) => i.helper("port-in", portInDx(i))),
    row("in", (i) => i.helper("port-in", portInDx(i))),
    row("out", (i) => i.helper("port-out", portInDx(i))),
    row("out", (i) => i.helper("port-out", portInDx(i))),
  );
  map[0xf1] = simple("int1", "debug-trap");
  map[0xf4] = simple("hlt", "halt");
  map[0xfa] = simple("cli", "clear-interrupts");
  map[0xfb] = simple("sti", "set-interrupts");
  map[0xfe] = byRegister("group 4", [incrementRm, decrementRm]);
  map[0xff] = byRegister("group 5", [
    incrementRm,
    decrementRm,
    callIndirect,
    farMemory("callf", "call-far-memory"),
    jumpIndirect,
    farMemory("jmpf", "jump-far-memory"),
    modrm("push", (i) => push(i, i.loadRm(i.operandSize)), wide),
  ]);
}
