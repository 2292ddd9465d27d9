/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.
import { readFile, stat } from "node:fs/promises";
import type { CoreExports, CoreFunctions, CoreImports, RamAddress } from "./imports.ts";

const modules = new Map<RamAddress, Promise<WebAssembly.Module>>();

/** When a file of the build was written; undefined if there is none. */
async function writtenAt(name: string): Promise<number | undefined> {
  try {
    return (await stat(new URL(name, import.meta.url))).mtimeMs;
  } catch {
    return undefined;
  }
}

/**
 * The module as scripts/write-core-modules.mjs wrote it, if it did. In a checkout it may be older than the last
 * compilation of the sources, which touches `.tsbuildinfo` (and which no published package has).
 */
async function built(ramAddress: RamAddress): Promise<BufferSource | undefined> {
  const name = `./core-${ramAddress}.wasm`;
  const [module, sources] = await Promise.all([writtenAt(name), writtenAt("./.tsbuildinfo")]);
  if (module === undefined || (sources !== undefined && sources > module)) return undefined;
  return readFile(new URL(name, import.meta.url));
}

/** Generates the module: some 50 ms with the loading of what generates it. */
async function generate(ramAddress: RamAddress): Promise<BufferSource> {
  const { buildCoreModule } = await import("./core-module.ts");
  return buildCoreModule({ ramAddress });
}

/** The WebAssembly module of the core, compiled once: from the build if it is there and up to date, else generated. */
export async function coreModule(ramAddress: RamAddress): Promise<WebAssembly.Module> {
  let module = modules.get(ramAddress);
  if (module === undefined) {
    module = (async () => new WebAssembly.Module((await built(ramAddress)) ?? (await generate(ramAddress))))();
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
    return new WebAssembly.Instance(module, { ...imports }).exports as unknown as CoreExports;
  };
}
