import { vectorOperations } from "../../src/vector-operations.ts";
import { type InstructionCase, memorySize } from "./native-instructions.ts";
import type { Random } from "./random.ts";
import type { MmxFields } from "./x87-cases.ts";

/** One MMX opcode: map 0 is 0F, 1 is 0F 38, 2 is 0F 3A. */
interface MmxOpcode {
  readonly name: string;
  readonly map: 0 | 1 | 2;
  readonly prefix: number;
  readonly opcode: number;
  readonly extension?: number;
  readonly immediate?: boolean;
  readonly wide?: boolean;
  /** Which forms of ModRM exist. */
  readonly forms?: "memory" | "register";
}

export interface MmxCase extends InstructionCase {
  readonly name: string;
  readonly fields: MmxFields;
}

function twins(): MmxOpcode[] {
  return vectorOperations
    .filter(({ mmx }) => mmx)
    .map(({ name, encoding, immediate, memory }): MmxOpcode => {
      const match = /^66 0f (?:(38|3a) )?([0-9a-f]{2})(?: \/([0-7]))?$/.exec(encoding) as RegExpExecArray;
      return {
        name,
        map: match[1] === "38" ? 1 : match[1] === "3a" ? 2 : 0,
        prefix: 0,
        opcode: Number.parseInt(match[2] as string, 16),
        immediate,
        ...(match[3] === undefined ? {} : { extension: Number(match[3]) }),
        ...(memory === 0 ? { forms: "register" as const } : {}),
      };
    });
}

export const mmxOpcodes: readonly MmxOpcode[] = [
  ...twins(),
  { name: "movd", map: 0, prefix: 0, opcode: 0x6e },
  { name: "movd-wide", map: 0, prefix: 0, opcode: 0x6e, wide: true },
  { name: "movd-store", map: 0, prefix: 0, opcode: 0x7e },
  { name: "movd-store-wide", map: 0, prefix: 0, opcode: 0x7e, wide: true },
  { name: "movq", map: 0, prefix: 0, opcode: 0x6f },
  { name: "movq-store", map: 0, prefix: 0, opcode: 0x7f },
  { name: "movntq", map: 0, prefix: 0, opcode: 0xe7, forms: "memory" },
  { name: "pshufw", map: 0, prefix: 0, opcode: 0x70, immediate: true },
  { name: "pinsrw", map: 0, prefix: 0, opcode: 0xc4, immediate: true },
  { name: "pextrw", map: 0, prefix: 0, opcode: 0xc5, immediate: true, forms: "register" },
  { name: "maskmovq", map: 0, prefix: 0, opcode: 0xf7, forms: "register" },
  { name: "movq2dq", map: 0, prefix: 0xf3, opcode: 0xd6, forms: "register" },
  { name: "movdq2q", map: 0, prefix: 0xf2, opcode: 0xd6, forms: "register" },
  ...[0, 0x66].flatMap((prefix): MmxOpcode[] => [
    { name: `cvtpi2p-${prefix}`, map: 0, prefix, opcode: 0x2a },
    { name: `cvttp2pi-${prefix}`, map: 0, prefix, opcode: 0x2c },
    { name: `cvtp2pi-${prefix}`, map: 0, prefix, opcode: 0x2d },
  ]),
];

/** Registers are 0 to 3, so that they can also stand for RAX, RCX, RDX and RBX. */
export function randomMmxCase(random: Random, opcode: MmxOpcode): MmxCase {
  const image = new Uint8Array(512);
  const view = new DataView(image.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint16(2, random.below(8) << 11, true);
  image[4] = random.below(256);
  view.setUint32(24, 0x1f80 | random.below(64) | (random.below(4) << 13), true);
  const edge = () => random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
  for (let register = 0; register < 8; register++) {
    for (let byte = 0; byte < 8; byte++)
      image[32 + 16 * register + byte] = random.chance(0.5) ? edge() : random.below(256);
    if (random.chance(0.2)) view.setBigUint64(32 + 16 * register, BigInt(random.below(70)), true);
    view.setUint16(32 + 16 * register + 8, random.below(0x10000), true);
  }
  for (let register = 0; register < 16; register++) {
    if (opcode.prefix === 0x66) {
      view.setBigUint64(160 + 16 * register, random.double(), true);
      view.setBigUint64(168 + 16 * register, random.double(), true);
    } else for (let lane = 0; lane < 4; lane++) view.setUint32(160 + 16 * register + 4 * lane, random.single(), true);
  }
  const memory = random.bytes(memorySize);
  memory.set(image.subarray(160, 176));
  const isMemory = opcode.forms === undefined ? random.chance(0.4) : opcode.forms === "memory";
  const reg = opcode.extension ?? random.below(4);
  const rm = isMemory ? 7 : random.below(4);
  const modrm = (isMemory ? 0 : 0xc0) | (reg << 3) | rm;
  const immediate = random.chance(0.3) ? random.below(256) : random.below(20);
  const rex = opcode.wide ? 8 : 0;
  const maps = [[0x0f], [0x0f, 0x38], [0x0f, 0x3a]] as const;
  return {
    name: opcode.name,
    code: Uint8Array.from([
      ...(opcode.prefix === 0 ? [] : [opcode.prefix]),
      ...(rex === 0 ? [] : [0x40 | rex]),
      ...maps[opcode.map],
      opcode.opcode,
      modrm,
      ...(opcode.immediate ? [immediate] : []),
    ]),
    image,
    memory,
    registers: BigUint64Array.from([random.u64(), random.u64(), random.u64(), random.u64()]),
    flags: 0x202n,
    fields: {
      source: opcode.opcode | (opcode.prefix << 8) | (opcode.map << 16),
      destination: modrm | (rex << 8),
      immediate: opcode.immediate ? immediate : 0,
    },
  };
}
