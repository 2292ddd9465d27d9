import type { CprError, MemorySupports, MigrationMode, MigrationPlan, Refusal } from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { cprRebootErrors } from "./errors.ts";

/**
 * The mode `cpr-reboot` (QEMU: docs/devel/migration/CPR.rst): the VM is stopped, its state goes to a place that outlives
 * the process, RAM that outlives it too stays where it is. What it accepts follows from what transport and memory say
 * about themselves.
 */
@injectable()
export class CprRebootMode implements MigrationMode {
  readonly name = "cpr-reboot";
  readonly summary = "Stop, save to a place that outlives the process, leave shared RAM in place, restart from there.";

  judgeOutgoing(plan: MigrationPlan): readonly Refusal[] {
    return judge(plan);
  }

  judgeIncoming(plan: MigrationPlan): readonly Refusal[] {
    return judge(plan);
  }

  keepsInPlace({ shared, survivesProcessExit }: MemorySupports): boolean {
    return shared && survivesProcessExit;
  }
}

function judge({ uri, transport, transports, capabilities }: MigrationPlan): readonly Refusal[] {
  const errors: CprError[] = [];
  if (!transport.stores) {
    const keeping = transports.filter(({ supports }) => supports.stores).map(({ scheme }) => scheme);
    errors.push(cprRebootErrors.ERR_CPR_REBOOT_STREAMS({ scheme: uri.scheme, uri: uri.text, keeping }));
  }
  if (capabilities.has("postcopy-ram") || capabilities.has("dirty-bitmaps")) {
    errors.push(cprRebootErrors.ERR_CPR_REBOOT_POSTCOPY({}));
  }
  if (capabilities.has("background-snapshot")) {
    errors.push(cprRebootErrors.ERR_CPR_REBOOT_BACKGROUND_SNAPSHOT({}));
  }
  if (capabilities.has("x-colo")) {
    errors.push(cprRebootErrors.ERR_CPR_REBOOT_COLO({}));
  }
  return errors.map(({ code, message, hint }) => ({ code, message, ...(hint === undefined ? {} : { hint }) }));
}
