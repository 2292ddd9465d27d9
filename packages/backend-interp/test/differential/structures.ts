import { lowAt, pageSize } from "./address-space.ts";
import { noEffects } from "./instruction-writer.ts";
import { arithmeticFlags } from "./sequence.ts";
import type { SequenceGenerator } from "./sequence-generator.ts";

type Structure = (generator: SequenceGenerator) => void;

const rcx = 1;
const rsp = 4;
const rbp = 5;

const littleEndian = (value: number, size = 4): number[] =>
  Array.from({ length: size }, (_, byte) => (value >> (8 * byte)) & 0xff);
const isPointer = (content: string): boolean => content === "low" || content === "high";

/** RSP leads to memory, in most cases. */
function withStack(generator: SequenceGenerator): void {
  const { registers, random } = generator;
  if (!isPointer(registers.of(rsp)) && random.chance(0.95)) generator.makePointer(rsp, registers.pointerKind());
}

/** A few instructions that a jump may skip. */
function body(generator: SequenceGenerator, most: number): void {
  const count = generator.random.below(most + 1);
  for (let index = 0; index < count; index++) {
    generator.writer.group++;
    generator.plain();
  }
}

/** Flags that a condition reads (the last bit of its code only inverts it). */
const conditionFlags = [0x800, 0x1, 0x40, 0x41, 0x80, 0x4, 0x880, 0x8c0] as const;

/** Jcc over a few instructions. */
function conditionalJump(generator: SequenceGenerator): void {
  const { random, writer } = generator;
  const condition = random.below(16);
  generator.define(conditionFlags[condition >> 1] as number);
  const effects = { ...noEffects, flagsRead: conditionFlags[condition >> 1] as number };
  if (generator.isAmd && random.chance(0.01)) {
    // With an operand size of 16 bits AMD processors jump to an address of 16 bits, and Intel's do not know it.
    writer.raw(effects, 0x66, 0x0f, 0x80 | condition, random.below(256), random.below(256));
    return;
  }
  const land = random.chance(0.7)
    ? writer.jump(effects, 1, 0x70 | condition)
    : writer.jump(effects, 4, 0x0f, 0x80 | condition);
  const { tainted } = generator;
  body(generator, 3);
  land();
  generator.tainted |= tainted;
}

/** JMP, JRCXZ, LOOP and its relatives, forwards. */
function otherJump(generator: SequenceGenerator): void {
  const { random, writer, registers } = generator;
  const opcode = random.pick([0xe0, 0xe1, 0xe2, 0xe3, 0xe9, 0xeb]);
  const readsZero = opcode === 0xe0 || opcode === 0xe1;
  if (readsZero) generator.define(0x40);
  const narrow = opcode <= 0xe3 && random.chance(0.2) ? [0x67] : [];
  const land = writer.jump(
    { ...noEffects, flagsRead: readsZero ? 0x40 : 0 },
    opcode === 0xe9 ? 4 : 1,
    ...narrow,
    opcode,
  );
  if (opcode < 0xe3 && registers.of(rcx) !== "small") registers.set(rcx, "data");
  const { tainted } = generator;
  body(generator, 3);
  land();
  generator.tainted |= tainted;
}

/** A loop of a few rounds. */
function loop(generator: SequenceGenerator): void {
  const { random, writer, registers } = generator;
  const rounds = random.between(1, 6);
  writer.raw(noEffects, 0xb9, ...littleEndian(rounds));
  registers.set(rcx, "small");
  const head = writer.length;
  const { group } = writer;
  const opcode = random.pick([0xe0, 0xe1, 0xe2, 0xe2, 0x75]);
  // All flags are defined at the head, wherever one comes from.
  const comparison = { flagsRead: 0, flagsWritten: arithmeticFlags, flagsUndefined: 0 };
  writer.raw(comparison, 0x39, 0xc0 | random.below(64));
  generator.tainted = 0;
  generator.reserved = 1 << rcx;
  const count = random.between(0, 3);
  for (let index = 0; index < count; index++) generator.plain((form) => form.unit !== "string");
  generator.reserved = 0;
  writer.group = group;
  if (opcode === 0x75) {
    // DEC RCX; JNE: a backward jump that links to its own block. DEC leaves CF alone.
    const effects = { flagsRead: 0, flagsWritten: arithmeticFlags & ~1, flagsUndefined: 0 };
    writer.raw(generator.apply(effects), 0xff, 0xc9);
  }
  if (opcode === 0xe0 || opcode === 0xe1) generator.define(0x40);
  writer.group = group;
  const distance = head - (writer.length + 2);
  writer.raw({ ...noEffects, flagsRead: opcode === 0xe2 ? 0 : 0x40 }, opcode, distance & 0xff);
}

/** PUSH and POP in all their forms. */
function stack(generator: SequenceGenerator): void {
  const { random, writer, registers, bitness } = generator;
  withStack(generator);
  const count = random.between(1, 3);
  for (let index = 0; index < count; index++) {
    const narrow = random.chance(0.2) ? [0x66] : [];
    const register = random.below(registers.count);
    const rex = register >= 8 ? [0x41] : [];
    switch (random.below(7)) {
      case 0:
        writer.raw(noEffects, ...narrow, ...rex, 0x50 | (register & 7));
        break;
      case 1: {
        const destination = registers.destination();
        writer.raw(noEffects, ...narrow, ...(destination >= 8 ? [0x41] : []), 0x58 | (destination & 7));
        registers.set(destination, "data");
        break;
      }
      case 2:
        writer.raw(noEffects, ...narrow, 0x6a, random.below(256));
        break;
      case 3:
        writer.raw(noEffects, ...narrow, 0x68, ...littleEndian(random.u32(), narrow.length === 1 ? 2 : 4));
        break;
      case 4: {
        // PUSH and POP with [RSP + n], whose address POP computes after it has changed RSP.
        const isPush = random.chance(0.5);
        const opcode = isPush ? [0xff, 0x74] : [0x8f, 0x44];
        writer.raw(noEffects, ...narrow, ...opcode, 0x24, random.below(16) * 8);
        break;
      }
      case 5: {
        const pointer =
          registers.find((content, candidate) => isPointer(content) && candidate < 8 && (candidate & 3) !== 0) ?? rsp;
        if (pointer === rsp) break;
        if ((pointer & 7) === 4) break;
        const isPush = random.chance(0.5);
        writer.raw(noEffects, ...narrow, isPush ? 0xff : 0x8f, (isPush ? 0x70 : 0x40) | pointer, random.below(256));
        break;
      }
      default:
        if (bitness === 32 && random.chance(0.5)) {
          const all = random.chance(0.6) ? 0x60 : 0x61;
          writer.raw(noEffects, ...narrow, all);
          if (all === 0x61) for (let each = 0; each < 8; each++) if (each !== rsp) registers.set(each, "data");
        } else writer.raw(noEffects, 0x54);
    }
  }
}

/** CALL of a function that returns, with a jump around it; nothing in it touches the flags. */
function call(generator: SequenceGenerator): void {
  const { random, writer, registers } = generator;
  withStack(generator);
  const { group } = writer;
  const register = registers.destination();
  const indirect = generator.bitness === 64 && random.chance(0.4);
  let land: () => void;
  if (indirect) {
    // LEA r, [RIP + function]; CALL r.
    const rex = register >= 8 ? 0x4c : 0x48;
    land = writer.jump(noEffects, 4, rex, 0x8d, 0x05 | ((register & 7) << 3));
    writer.raw(noEffects, ...(register >= 8 ? [0x41] : []), 0xff, 0xd0 | (register & 7));
    registers.set(register, "data");
  } else land = writer.jump(noEffects, 4, 0xe8);
  const over = writer.jump(noEffects, 1, 0xeb);
  land();
  const count = random.below(3);
  const free = (form: { flagsRead: number; flagsWritten: number; flagsUndefined: number }) =>
    (form.flagsRead | form.flagsWritten | form.flagsUndefined) === 0;
  for (let index = 0; index < count; index++)
    generator.plain((form) => free(form) && form.unit !== "string" && !/^(Bs[fr]|Sh.d)$/.test(form.mnemonic));
  writer.group = group;
  if (random.chance(0.2)) writer.raw(noEffects, 0xc2, random.below(4) * 8, 0);
  else writer.raw(noEffects, 0xc3);
  over();
}

/** CALL to somewhere ahead that does not return, and RET to an address that was pushed. */
function oneWay(generator: SequenceGenerator): void {
  const { random, writer, registers } = generator;
  withStack(generator);
  if (random.chance(0.5) || generator.bitness === 32) {
    const land = writer.jump(noEffects, 4, 0xe8);
    for (let index = random.below(6); index > 0; index--) writer.raw(noEffects, random.pick([0x90, 0xf4, 0x0b]));
    land();
    if (random.chance(0.7)) {
      const register = registers.destination();
      writer.raw(noEffects, ...(register >= 8 ? [0x41] : []), 0x58 | (register & 7));
      registers.set(register, "data");
    }
    return;
  }
  const register = registers.destination();
  const land = writer.jump(noEffects, 4, register >= 8 ? 0x4c : 0x48, 0x8d, 0x05 | ((register & 7) << 3));
  registers.set(register, "data");
  const rex = register >= 8 ? [0x41] : [];
  if (random.chance(0.5)) {
    writer.raw(noEffects, ...rex, 0xff, 0xe0 | (register & 7));
  } else {
    writer.raw(noEffects, ...rex, 0x50 | (register & 7));
    writer.raw(noEffects, 0xc3);
  }
  const { tainted } = generator;
  body(generator, 2);
  land();
  generator.tainted |= tainted;
}

/** PUSHF, LAHF and POPF. */
function flags(generator: SequenceGenerator): void {
  const { random, writer, registers } = generator;
  withStack(generator);
  const narrow = random.chance(0.2) ? [0x66] : [];
  if (random.chance(0.5)) {
    generator.define(arithmeticFlags);
    writer.raw({ ...noEffects, flagsRead: arithmeticFlags }, ...narrow, 0x9c);
    if (random.chance(0.7)) {
      const register = registers.destination();
      writer.raw(noEffects, ...narrow, ...(register >= 8 ? [0x41] : []), 0x58 | (register & 7));
      registers.set(register, "data");
    }
    return;
  }
  const value = random.u32() & (arithmeticFlags | (random.chance(0.2) ? 0x600 : 0x200));
  writer.raw(noEffects, 0x68, ...littleEndian(value));
  writer.raw(generator.apply({ flagsRead: 0, flagsWritten: arithmeticFlags, flagsUndefined: 0 }), ...narrow, 0x9d);
}

/** ENTER and LEAVE. */
function frame(generator: SequenceGenerator): void {
  const { random, writer, registers } = generator;
  withStack(generator);
  const narrow = random.chance(0.1) ? [0x66] : [];
  if (!isPointer(registers.of(rbp))) generator.makePointer(rbp, "low");
  if (random.chance(0.6)) {
    writer.raw(
      noEffects,
      ...narrow,
      0xc8,
      ...littleEndian(random.below(8) * 8, 2),
      random.chance(0.6) ? 0 : random.below(6),
    );
    if (random.chance(0.5)) return;
  }
  writer.raw(noEffects, ...narrow, 0xc9);
  registers.set(rbp, "data");
  if (narrow.length === 1) registers.set(rsp, "data");
}

/** A store to the immediate of an instruction that follows at once or a little later. */
function selfModification(generator: SequenceGenerator): void {
  const { random, writer, registers, bitness } = generator;
  if (!random.chance(0.3)) {
    frame(generator);
    return;
  }
  const { group } = writer;
  const start = writer.length;
  const base = bitness === 64 ? 0x05 : 0x05;
  writer.raw(noEffects, 0xc6, base, 0, 0, 0, 0, random.below(256));
  const end = writer.length;
  const count = random.below(3);
  for (let index = 0; index < count; index++) generator.plain();
  writer.group = group;
  const target = writer.length;
  const register = registers.destination() & 7;
  writer.raw(noEffects, 0xb8 | register, ...littleEndian(random.u32()));
  registers.set(register, "data");
  const at = writer.addressOf(target + 1 + random.below(4));
  const displacement = bitness === 64 ? at - writer.addressOf(end) : at;
  writer.bytes.set(littleEndian(displacement), start + 2);
}

/** Registers get addresses and small numbers again. */
function refresh(generator: SequenceGenerator): void {
  const { random, writer, registers, bitness } = generator;
  if (random.chance(0.5)) {
    generator.makePointer(random.below(registers.count), registers.pointerKind());
    return;
  }
  const register = registers.destination();
  if (bitness === 64) {
    // MOVZX from a byte register, or AND with a small constant.
    const source = random.below(16);
    const rex = 0x40 | (register >= 8 ? 4 : 0) | (source >= 8 ? 1 : 0);
    writer.raw(noEffects, rex, 0x0f, 0xb6, 0xc0 | ((register & 7) << 3) | (source & 7));
  } else writer.raw(noEffects, 0x0f, 0xb6, 0xc0 | ((register & 7) << 3) | random.below(4));
  registers.set(register, "small");
}

/** LDMXCSR of a value that is allowed, in most cases. */
function vectorControl(generator: SequenceGenerator): void {
  const { random, writer, bitness } = generator;
  if (!random.chance(0.3)) {
    conditionalJump(generator);
    return;
  }
  const masks = random.chance(0.9) ? 0x1f80 : random.below(64) << 7;
  const value = masks | (random.u32() & 0xe040) | (random.chance(0.03) ? 0x10000 : 0);
  const at = lowAt + pageSize + random.between(-8, 8) * 8;
  // With SIB, so that both modes take an absolute address.
  writer.raw(noEffects, 0xc7, 0x04, 0x25, ...littleEndian(at), ...littleEndian(value));
  writer.raw(noEffects, 0x0f, 0xae, 0x14, 0x25, ...littleEndian(at));
  if (bitness === 64 && random.chance(0.3)) writer.raw(noEffects, 0x0f, 0xae, 0x1c, 0x25, ...littleEndian(at));
}

/** Those that come more often are there more often. */
export const structures: readonly Structure[] = [
  ...[conditionalJump, conditionalJump, conditionalJump, conditionalJump, otherJump, loop, loop],
  ...[stack, stack, stack, call, call, oneWay, flags, frame, selfModification, refresh, refresh, vectorControl],
];
