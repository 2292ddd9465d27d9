import type { Kernel } from "../kernel.ts";
import { MigrationMode } from "../migration-mode.ts";
import { crc32 } from "../stream/crc32.ts";
import { Transport } from "../transport.ts";
import { newGeneration } from "./generation.ts";

/**
 * Loads what a migration will need, so that it does not while the guest stands still: modes and transports, and what
 * generations and checksums are made with. A plugin that fails is not used here and tells of it when it is.
 *
 * @param incoming - it is an incoming migration, which happens soon and makes no generation.
 */
export async function loadAhead(kernel: Kernel, incoming: boolean): Promise<void> {
  await Promise.allSettled([
    ...kernel.keys(MigrationMode).map((name) => kernel.get(MigrationMode, name)),
    ...kernel.keys(Transport).map((scheme) => kernel.get(Transport, scheme)),
  ]);
  crc32(new Uint8Array(0));
  if (!incoming) {
    newGeneration();
  }
}
