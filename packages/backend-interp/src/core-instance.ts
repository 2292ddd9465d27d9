/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.
import { readFileSync } from "node:fs";
import type { CoreExports, CoreFunctions, CoreImports, RamAddress } from "./imports.ts";

const modules = new Map<RamAddress, Promise<WebAssembly.Module>>();

/**
 * The module as scripts/write-core-modules.mjs wrote it beside the bundle of these sources; undefined if this code runs
 * from its sources.
 */
function built(ramAddress: RamAddress): BufferSource | undefined {
  try {
    return readFileSync(new URL(`./core-${ramAddress}.wasm`, import.meta.url));
  } catch {
    return undefined;
  }
}

/** Generates the module: some 50 ms with the loading of what generates it. */
async function generate(ramAddress: RamAddress): Promise<BufferSource> {
  const { buildCoreModule } = await import("./core-module.ts");
  return buildCoreModule({ ramAddress });
}

/** The WebAssembly module of the core, compiled once: from the build if it is there, else generated. */
export async function coreModule(ramAddress: RamAddress): Promise<WebAssembly.Module> {
  let module = modules.get(ramAddress);
  if (module === undefined) {
    module = (async () => new WebAssembly.Module(built(ramAddress) ?? (await generate(ramAddress))))();
    modules.set(ramAddress, module);
  }
  return module;
}

/** Makes a function that joins the core to a vCPU's memories and functions. */
export async function coreInstantiator(
  ramAddress: RamAddress,
): Promise<(core: WebAssembly.Memory, ram: WebAssembly.Memory, functions: CoreFunctions) => CoreExports> {
  const module = await coreModule(ramAddress);
  return (core, ram, functions) => {
    const imports: CoreImports = { env: { ...functions, core, ram } };
    return new WebAssembly.Instance(module, { env: { ...imports.env } }).exports as unknown as CoreExports;
  };
}
