/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.
import type { Execution, ExecutionContext } from "@cpr/core";
import { coreInstantiator } from "./core-instance.ts";
import { InterpreterExecution } from "./execution.ts";
import type { RamAddress } from "./imports.ts";
import type { ProcessorFeatures } from "./system/cpu-model.ts";
import { Processor } from "./system/processor.ts";

/** What the interpreter is made for, beside what every backend is told. */
export interface InterpreterOptions {
  readonly ram: WebAssembly.Memory;
  readonly ramSize: number;
  readonly ramAddress: RamAddress;
  readonly features: ProcessorFeatures;
}

/** Makes a VM's only vCPU and what executes it. */
export async function createInterpreter(context: ExecutionContext, options: InterpreterOptions): Promise<Execution> {
  const { memory, bus, clock } = context;
  const { ram, ramSize, ramAddress, features } = options;
  const processor = new Processor({
    index: 0,
    ram,
    ramSize,
    regions: memory.regions,
    bus,
    clock,
    features,
    instantiate: await coreInstantiator(ramAddress),
  });
  return new InterpreterExecution(context, processor);
}
