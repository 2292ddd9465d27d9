import type { MigrationMode } from "../migration-mode.ts";
import type { RamBlock } from "../vm/guest-ram.ts";

/** What becomes of a RAM block in an outgoing migration. */
export interface RamPlacement {
  readonly block: RamBlock;
  readonly inPlace: boolean;
  /** One sentence. */
  readonly reason: string;
  /** The user may think that it stays in place, and it does not. */
  readonly looksShared: boolean;
}

/** Decides which RAM stays in place. */
export function placeRam(
  blocks: readonly RamBlock[],
  mode: MigrationMode,
  capabilities: ReadonlySet<string>,
): readonly RamPlacement[] {
  return blocks.map((block) => {
    const { supports, location } = block.backing;
    const allowed = capabilities.has("x-ignore-shared");
    const inPlace = allowed && mode.keepsInPlace(supports);
    const because = (text: string): string => `RAM '${block.id}' (${location}) ${text}`;
    if (inPlace) {
      const limits = supports.survivesReboot ? "" : "; it outlives this process, but not the host's kernel";
      const reason = because(`is shared and can be found again, so it stays in place${limits}`);
      return { block, inPlace, reason, looksShared: false };
    }
    const looksShared = allowed && supports.shared;
    const reason = looksShared
      ? "is shared but would not be found again, so it is copied into the checkpoint"
      : supports.shared
        ? "is copied into the checkpoint, because the capability x-ignore-shared is off"
        : "is private memory of this process, so it is copied into the checkpoint";
    return { block, inPlace, reason: because(reason), looksShared };
  });
}

/** What the user is told of RAM that looks as if it stayed in place, one line for each block. */
export function noticesAbout(placements: readonly RamPlacement[]): readonly string[] {
  return placements.flatMap(({ looksShared, reason }) => (looksShared ? [reason] : []));
}
