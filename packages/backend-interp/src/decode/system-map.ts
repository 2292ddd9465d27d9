import type { HelperName } from "../helper-names.ts";
import { zeroSlot } from "../layout.ts";
import { farPointer, jumpConditional, segmentPop, segmentPush } from "./control-map.ts";
import { type Instruction, rax, t1 } from "./instruction.ts";
import { scan } from "./integer-map.ts";
import { load, store } from "./kinds.ts";
import {
  byMemory,
  byPrefix,
  byRegister,
  byRegisterOperand,
  byWidth,
  enter,
  modrm,
  type OpcodeMap,
  type Row,
  type RowOptions,
  row,
  undefinedRow,
} from "./row.ts";

/** System instructions, hints and what else the two-byte opcode map (0F xx) has beside integers and vectors. */

const simple = (name: string, helper: HelperName, options: RowOptions = {}): Row =>
  row(name, (i) => i.helper(helper), options);

/** Size of what SGDT and its like move: 2 + 8 bytes in 64-bit mode. */
const tableSize = (i: Instruction): number => (i.mode.long ? 8 : i.operandSize);
/** Control and debug registers always have the mode's full width. */
const registerSize = (i: Instruction): number => (i.mode.long ? 8 : 4);

/** A helper on the memory operand, of which it reads or writes so many bytes. */
function onMemory(
  name: string,
  helper: HelperName,
  size: (i: Instruction) => number,
  [bytes, access]: readonly [number, "read" | "write"],
  options: RowOptions = {},
): Row {
  return modrm(
    name,
    (i) => {
      i.effectiveAddress(bytes, access === "write");
      i.helper(helper, { size: size(i) });
    },
    options,
  );
}

/** SLDT, STR, SMSW: 16 bits to memory, or the operand size to a register. */
function storeSystem(name: string, helper: HelperName, options: RowOptions = {}): Row {
  return modrm(
    name,
    (i) => {
      if (i.isMemory) {
        i.effectiveAddress(2, true);
        i.helper(helper, { size: 2 });
      } else {
        i.helper(helper, { destination: i.rmSlot(i.operandSize) });
      }
    },
    options,
  );
}

/** A helper whose source is a 16-bit operand. */
function fromWord(name: string, helper: HelperName, options: RowOptions = {}): Row {
  return modrm(name, (i) => i.helper(helper, { source: i.loadRm(2) }), options);
}

const protectedOnly: RowOptions = { availability: "protected" };
/** LAR, LSL. */
const segmentQuery = (name: string, helper: HelperName): Row =>
  modrm(
    name,
    (i) => {
      const source = i.loadRm(2);
      i.helper(helper, { source, destination: i.regSlot(i.operandSize) });
    },
    protectedOnly,
  );

const group6 = byRegister("group 6", [
  storeSystem("sldt", "store-ldt", protectedOnly),
  storeSystem("str", "store-task-register", protectedOnly),
  fromWord("lldt", "load-ldt", protectedOnly),
  fromWord("ltr", "load-task-register", protectedOnly),
  fromWord("verr", "verify-read", protectedOnly),
  fromWord("verw", "verify-write", protectedOnly),
]);

const monitor = modrm("monitor", (i) => {
  i.useRegisterAddress(rax, zeroSlot);
  i.effectiveAddress();
  i.helper("monitor");
});
const machineStatus = storeSystem("smsw", "store-machine-status");
const loadMachineStatus = fromWord("lmsw", "load-machine-status");

/** ModRM.rm chooses, and no prefix may choose something else. */
const withoutPrefix = (name: string, rows: readonly Row[]): Row =>
  byPrefix(name, { none: byRegisterOperand(name, rows) });

/** Group 7. With a register operand ModRM.rm chooses; what is absent there belongs to VMX, SVM, SMAP, SGX, CET. */
const group7 = byRegister("group 7", [
  byMemory(onMemory("sgdt", "store-gdt", tableSize, [6, "write"]), undefined),
  byMemory(
    onMemory("sidt", "store-idt", tableSize, [6, "write"]),
    withoutPrefix("group 7", [monitor, modrm("mwait", (i) => i.helper("monitor-wait"))]),
  ),
  byMemory(
    onMemory("lgdt", "load-gdt", tableSize, [6, "read"]),
    withoutPrefix("group 7", [
      modrm("xgetbv", (i) => i.helper("read-xcr")),
      modrm("xsetbv", (i) => i.helper("write-xcr")),
    ]),
  ),
  byMemory(onMemory("lidt", "load-idt", tableSize, [6, "read"]), undefined),
  machineStatus,
  undefined,
  loadMachineStatus,
  byMemory(
    onMemory("invlpg", "invalidate-page", tableSize, [1, "read"]),
    byRegisterOperand("group 7", [
      modrm("swapgs", (i) => i.helper("swap-gs"), { availability: "long" }),
      modrm("rdtscp", (i) => i.helper("read-tsc-and-processor")),
    ]),
  ),
]);

/** Size of an FXSAVE or XSAVE image's pointers: 8 with REX.W. */
const imageSize = (i: Instruction): number => (i.rexW ? 8 : 4);
const long: RowOptions = { availability: "long" };
const fence = (name: string): Row => modrm(name, (i) => i.nothing());
/** RDFSBASE and its like. */
const readBase = (name: string, helper: HelperName): Row =>
  modrm(name, (i) => i.helper(helper, { destination: i.rmSlot(i.operandSize) }), long);
const writeBase = (name: string, helper: HelperName): Row =>
  modrm(name, (i) => i.helper(helper, { source: i.rmSlot(i.operandSize) }), long);

const group15 = byPrefix("group 15", {
  none: byMemory(
    byRegister("group 15", [
      onMemory("fxsave", "save-fx", imageSize, [512, "write"]),
      onMemory("fxrstor", "restore-fx", imageSize, [512, "read"]),
      onMemory("ldmxcsr", "load-mxcsr", () => 4, [4, "read"], { vector: true }),
      onMemory("stmxcsr", "store-mxcsr", () => 4, [4, "write"], { vector: true }),
      onMemory("xsave", "save-extended", imageSize, [576, "write"]),
      onMemory("xrstor", "restore-extended", imageSize, [576, "read"]),
      onMemory("xsaveopt", "save-extended-optimized", imageSize, [576, "write"]),
      // A cache line flush faults like a load of a byte, and has no other effect here.
      modrm("clflush", (i) => i.memory(load, 1, t1, 0)),
    ]),
    byRegister("group 15", [
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      fence("lfence"),
      fence("mfence"),
      fence("sfence"),
    ]),
  ),
  f3: byMemory(
    undefined,
    byRegister("group 15", [
      readBase("rdfsbase", "read-fs-base"),
      readBase("rdgsbase", "read-gs-base"),
      writeBase("wrfsbase", "write-fs-base"),
      writeBase("wrgsbase", "write-gs-base"),
    ]),
  ),
});

/** RDRAND and RDSEED: helper `read-random`, told apart by `source`. */
const random = (name: string, source: number): Row =>
  modrm(name, (i) => i.helper("read-random", { destination: i.rmSlot(i.operandSize), source }));
const randomRows = byMemory(
  undefined,
  byRegister("group 9", [
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    random("rdrand", 0),
    random("rdseed", 1),
  ]),
);
const compareExchangePair = byMemory(
  byRegister("group 9", [
    undefined,
    byWidth(
      onMemory("cmpxchg8b", "compare-exchange8b", () => 8, [8, "write"], { lockable: true }),
      onMemory("cmpxchg16b", "compare-exchange16b", () => 16, [16, "write"], { lockable: true }),
    ),
  ]),
  undefined,
);
const group9: Row = {
  ...randomRows,
  select: (i) => (i.isMemory ? compareExchangePair : i.repeat === 0 ? randomRows : compareExchangePair),
};

const controlNumbers: ReadonlySet<number> = new Set([0, 2, 3, 4, 8]);
/** MOV to and from CR and DR: ModRM.mod counts as 3. */
function moveControl(helper: HelperName, write: boolean, exists: (number: number) => boolean): Row {
  const options: RowOptions = { registerOnly: true };
  const entry = modrm(
    "mov",
    (i) => {
      const size = registerSize(i);
      const slot = i.rmSlot(size);
      i.helper(helper, write ? { size, destination: i.reg, source: slot } : { size, destination: slot, source: i.reg });
    },
    options,
  );
  return { ...entry, select: (i) => (exists(i.reg) ? entry : undefinedRow) };
}
const isControl = (number: number): boolean => controlNumbers.has(number);
const isDebug = (number: number): boolean => number < 8;

const hint = modrm("nop", (i) => i.nothing());
const undefinedInstruction = (i: Instruction): void => i.raise(6);

/** Enters system instructions, hints and branches into the two-byte map. */
export function enterSystem(map: OpcodeMap): void {
  enter(
    map,
    0x00,
    group6,
    group7,
    segmentQuery("lar", "load-access-rights"),
    segmentQuery("lsl", "load-segment-limit"),
  );
  map[0x05] = simple("syscall", "syscall");
  map[0x06] = simple("clts", "clear-task-switched");
  map[0x07] = simple("sysret", "sysret");
  map[0x08] = simple("invd", "invalidate-caches");
  map[0x09] = simple("wbinvd", "invalidate-caches");
  map[0x0b] = row("ud2", undefinedInstruction);
  map[0x0d] = hint; // PREFETCH, PREFETCHW
  for (let opcode = 0x18; opcode <= 0x1f; opcode++) map[opcode] = hint; // PREFETCHh, ENDBR, multi-byte NOP
  enter(
    map,
    0x20,
    moveControl("read-control-register", false, isControl),
    moveControl("read-debug-register", false, isDebug),
    moveControl("write-control-register", true, isControl),
    moveControl("write-debug-register", true, isDebug),
  );
  enter(
    map,
    0x30,
    simple("wrmsr", "write-msr"),
    simple("rdtsc", "read-tsc"),
    simple("rdmsr", "read-msr"),
    simple("rdpmc", "read-performance-counter"),
    // AMD processors have SYSENTER and SYSEXIT outside 64-bit mode only.
    simple("sysenter", "sysenter", { availability: "legacy" }),
    simple("sysexit", "sysexit", { availability: "legacy" }),
  );
  for (let code = 0; code < 16; code++) {
    map[0x80 + code] = row("jcc", jumpConditional, { wide: true, immediate: "operand" });
  }
  map[0xa0] = segmentPush(4, {});
  map[0xa1] = segmentPop(4, {});
  map[0xa2] = simple("cpuid", "cpuid");
  map[0xa8] = segmentPush(5, {});
  map[0xa9] = segmentPop(5, {});
  map[0xae] = group15;
  map[0xb2] = farPointer("lss", 2);
  map[0xb4] = farPointer("lfs", 4);
  map[0xb5] = farPointer("lgs", 5);
  map[0xb8] = byPrefix("popcnt", { f3: scan("popcnt", "population-count") });
  map[0xb9] = modrm("ud1", undefinedInstruction);
  // NOTE: F3 makes these TZCNT and LZCNT only on processors that have BMI1 and ABM, which is more than x86-64-v2.
  map[0xbc] = scan("bsf", "bit-scan-forward");
  map[0xbd] = scan("bsr", "bit-scan-reverse");
  map[0xc3] = byPrefix("movnti", {
    none: byMemory(
      modrm("movnti", (i) => {
        const size = i.rexW ? 8 : 4;
        i.memory(store, size, 0, i.regSlot(size));
      }),
      undefined,
    ),
  });
  map[0xc7] = group9;
  // NOTE: AMD processors read no ModRM byte here, Intel ones do.
  map[0xff] = row("ud0", undefinedInstruction);
}

/** Enters CRC32 into the map 0F 38. MOVBE, which shares its opcodes, is more than the CPU model has. */
export function enterCrc32(map: OpcodeMap): void {
  const crc32 = modrm("crc32", (i) => {
    const size = (i.opcode & 1) === 0 ? 1 : i.operandSize;
    const source = i.loadRm(size);
    i.helper("crc32", { size, source, destination: i.regSlot(4) });
  });
  enter(map, 0xf0, byPrefix("crc32", { f2: crc32 }), byPrefix("crc32", { f2: crc32 }));
}
