import type { MemorySupports, MigrationMode, Refusal } from "@cpr/core";
import { injectable } from "@cpr/core/di";

/**
 * The mode `normal`: the VM is stopped and moved to another process, through a stream between the two or through a place
 * that keeps it. Any transport will do.
 */
@injectable()
export class NormalMode implements MigrationMode {
  readonly name = "normal";
  readonly summary = "Stop the VM and move it to another process, through any transport.";

  judgeOutgoing(): readonly Refusal[] {
    return [];
  }

  judgeIncoming(): readonly Refusal[] {
    return [];
  }

  /** Only memory with a name can be found by another process. */
  keepsInPlace({ shared, survivesProcessExit }: MemorySupports): boolean {
    return shared && survivesProcessExit;
  }
}
