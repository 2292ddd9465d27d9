import { migrationErrors } from "../errors/migration-errors.ts";
import type { CprError } from "../errors.ts";
import type { MigrationPlan } from "../migration-mode.ts";
import type { TransportSupports } from "../transport.ts";

/** What a migration with certain settings wants of its transport. */
interface TransportRule {
  /** Whether the settings want it. */
  wanted(plan: MigrationPlan): boolean;
  /** Whether the transport has it. */
  given(transport: TransportSupports, plan: MigrationPlan): boolean;
  refuse(uri: string): CprError;
}

/** The rules in QEMU's order (migration/migration.c, `migration_transport_compatible`), from what transports state about themselves. */
const transportRules: readonly TransportRule[] = [
  {
    // NOTE: threads write the pages, and that is all of mapped-ram that there is here.
    wanted: ({ capabilities }) => capabilities.has("mapped-ram"),
    given: ({ seekable, parallel }) => seekable && parallel,
    refuse: (uri) => migrationErrors.ERR_CPR_TRANSPORT_SEEKABLE({ uri }),
  },
  {
    // NOTE: no transport sends a stream through several connections. With mapped-ram, threads write at positions instead.
    wanted: ({ capabilities }) => capabilities.has("multifd"),
    given: ({ parallel }, { capabilities }) => parallel && capabilities.has("mapped-ram"),
    refuse: (uri) => migrationErrors.ERR_CPR_TRANSPORT_CHANNELS({ uri }),
  },
  {
    wanted: ({ capabilities, directIo }) => capabilities.has("multifd") && directIo,
    given: ({ parallel }) => parallel,
    refuse: (uri) => migrationErrors.ERR_CPR_TRANSPORT_DIRECT({ uri }),
  },
];

/** Why a transport does not do for the settings of a migration. */
export function brokenTransportRules(plan: MigrationPlan): readonly CprError[] {
  return transportRules
    .filter((rule) => rule.wanted(plan) && !rule.given(plan.transport, plan))
    .map((rule) => rule.refuse(plan.uri.text));
}
