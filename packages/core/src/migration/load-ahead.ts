import type { Kernel } from "../kernel.ts";
import { MigrationMode } from "../migration-mode.ts";
import { loadPageFunctions } from "../ram-copy/page-functions.ts";
import { crc32, useCrc32 } from "../stream/crc32.ts";
import { Transport } from "../transport.ts";
import { newGeneration } from "./generation.ts";

/**
 * Loads what a migration will need, so that it does not while the guest stands still: modes and transports, and what
 * generations and checksums are made with. A plugin that fails is not used here and tells of it when it is.
 *
 * @param incoming - it is an incoming migration, which happens soon and makes no generation.
 * @param pageFunctions - see `MemoryBacking.pageFunctions`.
 */
export async function loadAhead(kernel: Kernel, incoming: boolean, pageFunctions: string | undefined): Promise<void> {
  await Promise.allSettled([
    ...kernel.keys(MigrationMode).map((name) => kernel.get(MigrationMode, name)),
    ...kernel.keys(Transport).map((scheme) => kernel.get(Transport, scheme)),
  ]);
  const functions = await loadPageFunctions(pageFunctions);
  if (functions !== undefined) {
    useCrc32(functions.crc32);
  }
  crc32(new Uint8Array(0));
  if (!incoming) {
    newGeneration();
  }
}
