import { effectiveAddressSlot, registersAt } from "../../src/layout.ts";
import { field } from "../../src/operations.ts";
import type { Helpers } from "../../src/processor-interface.ts";
import { BareProcessor } from "./bare-processor.ts";
import type { InstructionCase, InstructionOutcome } from "./native-instructions.ts";
import type { Random } from "./random.ts";

const operandAt = 0x1000;
const imageAt = 0x2000;
const operationAt = 0x10_0000;
const arithmeticFlags = 0x8d5n;

/** A state with random registers: most of the stack in use, exceptions usually masked. */
export function randomImage(random: Random): Uint8Array {
  const image = new Uint8Array(512);
  const view = new DataView(image.buffer);
  const masks = random.chance(0.75) ? 0x3f : random.below(0x40);
  view.setUint16(0, masks | 0x40 | (random.below(4) << 10) | (random.pick([0, 2, 3, 3]) << 8), true);
  view.setUint16(2, (random.below(8) << 11) | (random.below(2) << 9), true);
  image[4] = random.chance(0.7) ? 0xff : random.below(256);
  view.setUint32(24, 0x1f80, true);
  for (let index = 0; index < 8; index++) {
    const [significand, signAndExponent] = random.extended();
    view.setBigUint64(32 + 16 * index, significand, true);
    view.setUint16(32 + 16 * index + 8, signAndExponent, true);
  }
  return image;
}

/** What the decoder tells the helper `mmx`. */
export interface MmxFields {
  readonly source: number;
  readonly destination: number;
  readonly immediate: number;
}

/** Executes x87 and MMX instructions by the helpers, on a {@link BareProcessor}. */
export class X87Interpreter {
  readonly #processor = new BareProcessor();
  readonly #helpers: Helpers;

  constructor(floatHelpers: (processor: BareProcessor) => Helpers) {
    this.#helpers = floatHelpers(this.#processor);
  }

  #call(name: keyof Helpers, address: number, immediate: number, scale: number): void {
    const { u8, u32, u64 } = this.#processor.core;
    u64[effectiveAddressSlot >> 3] = BigInt(address);
    u32[(operationAt + field.immediate) >> 2] = immediate;
    u8[operationAt + field.scale] = scale;
    this.#helpers[name]?.(operationAt);
  }

  run(item: InstructionCase, mmx?: MmxFields): InstructionOutcome {
    const { core, memory } = this.#processor;
    memory.set(item.memory, operandAt);
    memory.set(item.image, imageAt);
    this.#call("restore-fx", imageAt, 0, 8);
    item.registers.forEach((value, index) => {
      core.u64[(registersAt >> 3) + index] = value;
    });
    this.#processor.writeFlags(Number(item.flags));
    const narrow = item.code[0] === 0x66;
    const [opcode, modrm] = item.code.subarray(narrow ? 1 : 0) as unknown as [number, number];
    let signal = 0;
    try {
      const name = modrm >= 0xc0 ? "x87-register" : "x87-memory";
      if (mmx === undefined) this.#call(name, operandAt, (opcode << 8) | modrm, narrow ? 2 : 4);
      else {
        core.u32[(operationAt + field.source) >> 2] = mmx.source;
        core.u32[(operationAt + field.destination) >> 2] = mmx.destination;
        this.#call("mmx", operandAt, mmx.immediate, 4);
      }
    } catch (fault) {
      if (fault !== this.#processor.fault) throw fault;
      signal = this.#processor.fault.vector === 6 ? 4 : 8;
    }
    this.#call("save-fx", imageAt, 0, 8);
    return {
      image: memory.slice(imageAt, imageAt + 512),
      memory: memory.slice(operandAt, operandAt + 128),
      registers: core.u64.slice(registersAt >> 3, (registersAt >> 3) + 4),
      flags: BigInt(this.#processor.readFlags()),
      signal,
    };
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.slice().reverse()).toString("hex");

/** What can be compared: not the pointers to the last instruction, nor the status bits that the instruction leaves undefined. */
export function describe87(outcome: InstructionOutcome, undefinedStatus = 0): Record<string, string> {
  const view = new DataView(outcome.image.buffer, outcome.image.byteOffset);
  const status = view.getUint16(2, true) & ~undefinedStatus;
  const result: Record<string, string> = {
    signal: String(outcome.signal),
    control: view.getUint16(0, true).toString(16),
    status: status.toString(16),
    tags: (outcome.image[4] as number).toString(16),
    mxcsr: (view.getUint32(24, true) & 0xffff).toString(16),
  };
  // NOTE: the native runner does not catch the general registers and the flags of an instruction that faults.
  if (outcome.signal === 0) {
    result["memory"] = hex(outcome.memory);
    result["flags"] = (outcome.flags & arithmeticFlags).toString(16);
    result["general"] = [...outcome.registers].map((value) => value.toString(16)).join(" ");
  }
  for (let index = 0; index < 8; index++) {
    result[`st${index}`] = hex(outcome.image.subarray(32 + 16 * index, 42 + 16 * index));
  }
  for (let index = 0; index < 16; index++) {
    result[`xmm${index}`] = hex(outcome.image.subarray(160 + 16 * index, 176 + 16 * index));
  }
  return result;
}
