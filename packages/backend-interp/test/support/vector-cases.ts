import { helperNames } from "../../src/helper-names.ts";
import {
  coreMemorySize,
  effectiveAddressSlot,
  registersAt,
  temporariesAt,
  vectorTemporariesAt,
  xmmAt,
} from "../../src/layout.ts";
import { field } from "../../src/operations.ts";
import type { Helpers } from "../../src/processor-interface.ts";
import { defineVectorFunction } from "../../src/semantics/vector/index.ts";
import { type VectorOperation, vectorOperationNumber, vectorOperations } from "../../src/vector-operations.ts";
import { ModuleBuilder } from "../../src/wasm/index.ts";
import { BareProcessor } from "./bare-processor.ts";
import { type InstructionCase, type InstructionOutcome, memorySize } from "./native-instructions.ts";
import type { Random } from "./random.ts";

const operandAt = 0x1000;
const imageAt = 0x2000;
const operationAt = 0x10_0000;
const arithmeticFlags = 0x8d5n;

/** How an instruction's operands are chosen. */
interface Form {
  readonly destination: number;
  readonly source: number;
  readonly memory: boolean;
  readonly immediate: number;
}

/** A case for the native processor, and what the decoder would make of the same instruction. */
export interface VectorCase extends InstructionCase {
  readonly operation: VectorOperation;
  readonly form: Form;
}

/** Bytes of the instruction by the table's `encoding`. */
function encode(operation: VectorOperation, form: Form): Uint8Array {
  const parts = operation.encoding.split(" ");
  const bytes: number[] = [];
  let extension: number | undefined;
  let wide = 0;
  const opcode: number[] = [];
  for (const part of parts) {
    if (part === "w") wide = 8;
    else if (part.startsWith("/")) extension = Number(part.slice(1));
    else if ((part === "66" || part === "f3" || part === "f2") && opcode.length === 0)
      bytes.push(Number.parseInt(part, 16));
    else opcode.push(Number.parseInt(part, 16));
  }
  const [register, rm] = operation.reversed ? [form.source, form.destination] : [form.destination, form.source];
  const reg = extension ?? register;
  const rex = 0x40 | wide | (reg & 8 ? 4 : 0) | (!form.memory && rm & 8 ? 1 : 0);
  if (rex !== 0x40) bytes.push(rex);
  bytes.push(...opcode, ((form.memory ? 0 : 3) << 6) | ((reg & 7) << 3) | (form.memory ? 7 : rm & 7));
  if (operation.immediate) bytes.push(form.immediate);
  return Uint8Array.from(bytes);
}

/** Sixteen bytes of numbers of a precision. */
function fill(random: Random, view: DataView, at: number, precision: "single" | "double" | "bytes"): void {
  if (precision === "single") for (let lane = 0; lane < 4; lane++) view.setUint32(at + 4 * lane, random.single(), true);
  else if (precision === "double")
    for (let lane = 0; lane < 2; lane++) view.setBigUint64(at + 8 * lane, random.double(), true);
  else if (random.chance(0.5)) new Uint8Array(view.buffer, view.byteOffset + at, 16).set(random.bytes(16));
  else {
    // Bytes at the edges of their ranges, and small shift counts.
    for (let byte = 0; byte < 16; byte++)
      view.setUint8(at + byte, random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(20)]));
    if (random.chance(0.5)) view.setBigUint64(at, BigInt(random.below(70)), true);
  }
}

/** What an operation's elements are. */
export function precisionOf({ name }: VectorOperation): "single" | "double" | "bytes" {
  if (name.startsWith("cvtsi2") || name.startsWith("cvtdq2")) return "bytes";
  if (name.startsWith("cvtps2") || name.startsWith("cvttps2") || /^cvtt?ss2/.test(name)) return "single";
  if (name.startsWith("cvt")) return "double";
  if (name.startsWith("p") || name.startsWith("unpck") || name.startsWith("blend") || name.startsWith("mov"))
    return "bytes";
  return /s[sp]$|ps$|ss$/.test(name) ? "single" : "double";
}

export function randomVectorCase(random: Random, operation: VectorOperation): VectorCase {
  const image = new Uint8Array(512);
  const view = new DataView(image.buffer);
  view.setUint16(0, 0x37f, true);
  const precision = precisionOf(operation);
  let mxcsr = 0x1f80;
  if (precision !== "bytes" || operation.name.startsWith("cvt")) {
    if (random.chance(0.5)) mxcsr |= random.below(0x40) | 0x20;
    else mxcsr |= random.below(0x40);
    if (random.chance(0.4)) mxcsr |= random.below(4) << 13;
    if (random.chance(0.2)) mxcsr |= 0x8000;
    if (random.chance(0.2)) mxcsr |= 0x40;
    if (random.chance(0.15)) mxcsr &= ~(random.below(0x40) << 7);
  }
  view.setUint32(24, mxcsr, true);
  for (let register = 0; register < 16; register++) fill(random, view, 160 + 16 * register, precision);
  const memory = new Uint8Array(memorySize);
  for (let at = 0; at < memorySize; at += 16) fill(random, new DataView(memory.buffer), at, precision);
  const general = new BigUint64Array(4);
  for (let register = 0; register < 4; register++) {
    general[register] = random.u64() >> BigInt(random.pick([0, 0, 32, 40, 58]));
    if (random.chance(0.3)) general[register] = BigInt.asUintN(64, -(general[register] as bigint));
  }
  const isMemory = operation.memory !== 0 && random.chance(0.4);
  const xmm = () => random.below(16);
  const form: Form = {
    destination: operation.destination === "general" ? random.below(4) : xmm(),
    source: operation.source === "general" ? random.below(4) : xmm(),
    memory: isMemory,
    immediate: random.chance(0.5) ? random.below(256) : random.below(20),
  };
  return {
    operation,
    form,
    code: encode(operation, form),
    image,
    memory,
    registers: general,
    flags: 0x202n | (random.u64() & arithmeticFlags),
  };
}

/** Executes vector operations by the WebAssembly function, as the interpreter's core does, on a {@link BareProcessor}. */
export class VectorInterpreter {
  readonly #processor: BareProcessor;
  readonly #helpers: Helpers;
  readonly #vector: (operation: number) => void;
  /** How often software had to do it. */
  exactCalls = 0;

  constructor(floatHelpers: (processor: BareProcessor) => Helpers) {
    const pages = coreMemorySize / 0x1_0000;
    const module = new ModuleBuilder();
    const core = module.importMemory("env", "core", { address: "i32", shared: false, minimum: pages, maximum: pages });
    const helper = module.importFunction("env", "helper", ["i32", "i32"], "i32");
    module.exportFunction("vector", defineVectorFunction(module, { core, helper }));
    this.#processor = new BareProcessor();
    this.#helpers = floatHelpers(this.#processor);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), {
      env: {
        core: this.#processor.core.memory,
        helper: (number: number, operation: number) => {
          this.exactCalls++;
          return this.#helpers[helperNames[number] as keyof Helpers]?.(operation);
        },
      },
    });
    this.#vector = instance.exports["vector"] as (operation: number) => void;
  }

  run(item: VectorCase): InstructionOutcome {
    const { core, memory } = this.#processor;
    const { operation, form } = item;
    memory.set(item.memory, operandAt);
    memory.set(item.image, imageAt);
    core.u64[effectiveAddressSlot >> 3] = BigInt(imageAt);
    core.u8[operationAt + field.scale] = 8;
    this.#helpers["restore-fx"]?.(operationAt);
    item.registers.forEach((value, index) => {
      core.u64[(registersAt >> 3) + index] = value;
    });
    this.#processor.writeFlags(Number(item.flags));

    const slot = (kind: "xmm" | "general" | "flags", register: number) =>
      kind === "general" ? registersAt + 8 * register : xmmAt + 16 * register;
    let destination = slot(operation.destination, form.destination);
    let source = operation.source === "none" ? 0 : slot(operation.source, form.source);
    if (form.memory) {
      // NOTE: only the bytes that the operation says it reads are defined; the others hold the last operand's.
      const temporary =
        (operation.reversed ? operation.destination : operation.source) === "general"
          ? temporariesAt
          : vectorTemporariesAt;
      if (operation.reversed) destination = temporary;
      else {
        source = temporary;
        core.u8.set(item.memory.subarray(0, operation.memory), temporary);
      }
    }
    const number = vectorOperationNumber(operation.name);
    core.u32[(operationAt + field.destination) >> 2] = destination;
    core.u32[(operationAt + field.source) >> 2] = source;
    core.u16[(operationAt + field.auxiliary) >> 1] = number;
    core.u32[(operationAt + field.base) >> 2] = form.immediate;
    const immediate = operation.name === "insertps" && form.memory ? form.immediate & 0x3f : form.immediate;
    core.u64[(operationAt + field.immediate) >> 3] = BigInt(operation.rare ? number : immediate);
    core.u64[effectiveAddressSlot >> 3] = BigInt(operandAt);
    let signal = 0;
    try {
      if (operation.rare) this.#helpers["vector-rare"]?.(operationAt);
      else this.#vector(operationAt);
      if (form.memory && operation.reversed)
        memory.set(core.u8.slice(destination, destination + operation.memory), operandAt);
    } catch (fault) {
      if (fault !== this.#processor.fault) throw fault;
      signal = this.#processor.fault.vector === 6 ? 4 : 8;
    }
    core.u64[effectiveAddressSlot >> 3] = BigInt(imageAt);
    this.#helpers["save-fx"]?.(operationAt);
    return {
      image: memory.slice(imageAt, imageAt + 512),
      memory: memory.slice(operandAt, operandAt + memorySize),
      registers: core.u64.slice(registersAt >> 3, (registersAt >> 3) + 4),
      flags: BigInt(this.#processor.readFlags()),
      signal,
    };
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.slice().reverse()).toString("hex");

/** What can be compared. */
export function describeVector(outcome: InstructionOutcome): Record<string, string> {
  const view = new DataView(outcome.image.buffer, outcome.image.byteOffset);
  const result: Record<string, string> = {
    signal: String(outcome.signal),
    mxcsr: (view.getUint32(24, true) & 0xffff).toString(16),
    memory: hex(outcome.memory),
  };
  // NOTE: the native runner does not catch the general registers and the flags of an instruction that faults.
  if (outcome.signal === 0) {
    result["flags"] = (outcome.flags & arithmeticFlags).toString(16);
    result["general"] = [...outcome.registers].map((value) => value.toString(16)).join(" ");
  }
  for (let register = 0; register < 16; register++) {
    result[`xmm${register}`] = hex(outcome.image.subarray(160 + 16 * register, 176 + 16 * register));
  }
  return result;
}

/** The operations whose instructions the table encodes. */
export const testedOperations = vectorOperations.filter(({ encoding }) => encoding !== "");
