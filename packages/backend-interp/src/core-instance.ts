/// <reference lib="dom" />
// NOTE: the reference brings the types of WebAssembly, which TypeScript declares with the browser's interfaces.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { buildCoreModule } from "./core-module.ts";
import type { CoreExports, CoreFunctions, RamAddress } from "./imports.ts";

const modules = new Map<RamAddress, WebAssembly.Module>();

/** The WebAssembly module of the core, compiled once: from the build if it is there, else generated. */
export function coreModule(ramAddress: RamAddress): WebAssembly.Module {
  let module = modules.get(ramAddress);
  if (module === undefined) {
    const built = fileURLToPath(new URL(`./core-${ramAddress}.wasm`, import.meta.url));
    module = new WebAssembly.Module(existsSync(built) ? readFileSync(built) : buildCoreModule({ ramAddress }));
    modules.set(ramAddress, module);
  }
  return module;
}

/** Makes a function that joins the core to a vCPU's memories and functions. */
export function coreInstantiator(
  ramAddress: RamAddress,
): (core: WebAssembly.Memory, ram: WebAssembly.Memory, functions: CoreFunctions) => CoreExports {
  const module = coreModule(ramAddress);
  return (core, ram, functions) =>
    new WebAssembly.Instance(module, { env: { ...functions, core, ram } }).exports as unknown as CoreExports;
}
