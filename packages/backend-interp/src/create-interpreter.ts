/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.
import type { Execution, ExecutionContext, ProcessorModel } from "@cpr/core";
import { CodePages } from "./code-pages.ts";
import { coreInstantiator } from "./core-instance.ts";
import { InterpreterExecution } from "./execution.ts";
import type { RamAddress } from "./imports.ts";
import { featuresOf } from "./system/cpu-model.ts";
import { Processor } from "./system/processor.ts";

/** What the interpreter is made for, beside what every backend is told. */
export interface InterpreterOptions {
  readonly ram: WebAssembly.Memory;
  readonly ramSize: number;
  readonly ramStart: number;
  readonly ramAddress: RamAddress;
  readonly model: ProcessorModel;
}

/** Makes the vCPUs of a VM and what executes them. */
export async function createInterpreter(context: ExecutionContext, options: InterpreterOptions): Promise<Execution> {
  const { memory, bus, clock, processorCount, tscFrequency } = context;
  const { ram, ramSize, ramStart, ramAddress, model } = options;
  const instantiate = await coreInstantiator(ramAddress);
  const codePages = new CodePages();
  memory.onDeviceWrite = (offset, length) => codePages.rangeWritten(offset, length);
  const processors = Array.from(
    { length: processorCount },
    (_, index) =>
      new Processor({
        index,
        processorCount,
        ram,
        ramSize,
        ramStart,
        regions: memory.regions,
        bus,
        clock,
        codePages,
        features: featuresOf(model, { index, count: processorCount }),
        tscFrequency,
        instantiate,
      }),
  );
  return new InterpreterExecution(context, processors);
}
