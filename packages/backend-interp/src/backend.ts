/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.
import {
  type Backend,
  type BackendAvailability,
  type BackendSupports,
  type Execution,
  type ExecutionContext,
  findProcessorModel,
  processorModels,
  type RamAlignment,
  type RamAllocation,
} from "@cpr/core";
import { interpreterErrors } from "./errors.ts";
import type { RamAddress } from "./imports.ts";
import { lackingFeatures } from "./system/cpu-model.ts";

const wasmPage = 0x1_0000;
/** What a memory with 32-bit addresses can hold. */
const narrowLimit = 2 ** 32;
/** The most that V8 allows a memory with 64-bit addresses. */
const maximumRam = 2 ** 34;
/** They share a thread, so that more vCPUs make no guest faster, and each may fill its 64 MiB with decoded code. */
const maximumProcessors = 16;

/** A module with two memories: valid where multi-memory is. */
const twoMemories = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 5, 2, 0, 1, 0, 1);

/** What crosses to the machine thread: the memory itself, which is shared, and which part of it is RAM. */
interface RamHandle {
  readonly memory: WebAssembly.Memory;
  readonly start: number;
  readonly size: number;
}

const addressingOf = (size: number): RamAddress => (size > narrowLimit ? "i64" : "i32");

/** The interpreter itself, which only the machine thread needs. */
const interpreter = () => import("./create-interpreter.ts");

/** The execution backend that interprets x86-64 code with WebAssembly and TypeScript: it works on every host. */
export class InterpreterBackend implements Backend {
  readonly name = "interp";
  readonly preference = 10;
  readonly supports: BackendSupports = {
    kernelIrqchip: "off",
    maximumProcessors,
    maximumRam,
    dirtyLog: false,
  };
  readonly processorModels: readonly string[] = processorModels.map(({ name }) => name);

  async probe(): Promise<BackendAvailability> {
    return WebAssembly.validate(twoMemories)
      ? { available: true, note: "x86-64 in WebAssembly" }
      : {
          available: false,
          reason: `Node ${process.version} has no WebAssembly modules with several memories`,
          hint: "Use Node 24 or later.",
        };
  }

  async missingFeatures(name: string): Promise<readonly string[]> {
    const model = findProcessorModel(name);
    return model === undefined ? [] : lackingFeatures(model);
  }

  allocateRam(size: number, alignment?: RamAlignment): RamAllocation {
    if (size > maximumRam) {
      throw interpreterErrors.ERR_CPR_INTERP_RAM({ size, limit: maximumRam });
    }
    try {
      let memory = newMemory(size);
      if (alignment !== undefined && startIn(memory, alignment) > 0) {
        // Nobody can tell V8 where to put a memory. This one has room for RAM to begin later.
        memory = newMemory(size + alignment.multiple);
      }
      return allocation({ memory, start: startIn(memory, alignment), size });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw interpreterErrors.ERR_CPR_INTERP_ALLOCATE({ size, reason }, { cause });
    }
  }

  adoptRam(handle: unknown): RamAllocation {
    return allocation(handle as RamHandle);
  }

  async prepare(): Promise<void> {
    await interpreter();
  }

  async createExecution(context: ExecutionContext): Promise<Execution> {
    const { processorModel, processorCount, allocation: ram } = context;
    const model = findProcessorModel(processorModel);
    if (model === undefined || lackingFeatures(model).length > 0) {
      throw interpreterErrors.ERR_CPR_INTERP_MODEL({ model: processorModel, known: this.processorModels });
    }
    if (processorCount > maximumProcessors) {
      throw interpreterErrors.ERR_CPR_INTERP_PROCESSORS({ count: processorCount, limit: maximumProcessors });
    }
    const handle = ram.handle as RamHandle;
    const { createInterpreter } = await interpreter();
    return createInterpreter(context, {
      ram: handle.memory,
      ramSize: handle.size,
      ramStart: handle.start,
      ramAddress: addressingOf(handle.memory.buffer.byteLength),
      model,
    });
  }
}

function allocation(handle: RamHandle): RamAllocation {
  return { bytes: new Uint8Array(handle.memory.buffer, handle.start, handle.size), handle };
}

/** Where in a memory the first address is that meets an alignment. */
function startIn({ buffer }: WebAssembly.Memory, alignment: RamAlignment | undefined): number {
  if (alignment === undefined) return 0;
  const multiple = BigInt(alignment.multiple);
  return Number(-alignment.addressOf(new Uint8Array(buffer)) & (multiple - 1n));
}

function newMemory(size: number): WebAssembly.Memory {
  const pages = Math.ceil(size / wasmPage);
  return addressingOf(size) === "i64" ? wideMemory(pages) : narrowMemory(pages);
}

function narrowMemory(pages: number): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** A memory with 64-bit addresses; its type declarations lag behind. */
function wideMemory(pages: number): WebAssembly.Memory {
  const descriptor = { address: "i64", initial: BigInt(pages), maximum: BigInt(pages), shared: true };
  return new WebAssembly.Memory(descriptor as unknown as WebAssembly.MemoryDescriptor);
}
