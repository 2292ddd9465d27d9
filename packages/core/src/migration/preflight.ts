import { migrationErrors } from "../errors/migration-errors.ts";
import { CprError } from "../errors.ts";
import type { MigrationMode, MigrationPlan, Refusal } from "../migration-mode.ts";
import type { RunState } from "../runstate.ts";
import type { PlaceReport, Transport, TransportUri } from "../transport.ts";
import { blockedBy } from "./blocked.ts";
import { capabilityDefinitions } from "./capabilities.ts";
import { placeRam } from "./ram-placement.ts";
import { type EffectiveSettings, supportedCapabilities } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";
import { brokenTransportRules } from "./transport-rules.ts";

/** What a migration is before anything has been done for it. */
export interface MigrationIntent extends Omit<EffectiveSettings, "mode"> {
  readonly subject: MigrationSubject;
  readonly uri: TransportUri;
  readonly mode: MigrationMode;
  readonly transport: Transport;
  /** All transports that are installed. */
  readonly transports: readonly Transport[];
}

/** An outgoing one. */
export interface OutgoingIntent extends MigrationIntent {
  /** RAM that would have to be copied is a reason to refuse. */
  readonly inPlaceOnly: boolean;
  /** What the transport can tell of the place. */
  readonly place: PlaceReport | undefined;
}

/**
 * Every reason why the outgoing migration must not start, in QEMU's order (migration/migration.c, `qmp_migrate`). It is
 * computed from what mode, transport, RAM, devices and plugins state about themselves; nothing is opened or stopped.
 */
export function outgoingRefusals(intent: OutgoingIntent): readonly Refusal[] {
  const { mode, subject, capabilities, inPlaceOnly } = intent;
  const plan = planOf(intent);
  return [
    ...(inPlaceOnly ? volatileRam(intent) : []),
    ...brokenTransportRules(plan).map(refusal),
    ...(subject.migrationActive ? [migrationErrors.ERR_CPR_MIGRATION_ACTIVE({})].map(refusal) : []),
    ...runStateRefusals(subject.runState),
    ...blockedBy(subject, mode.name).map(({ by, reason }) =>
      refusal(migrationErrors.ERR_CPR_BLOCKED({ by, mode: mode.name, reason })),
    ),
    ...mode.judgeOutgoing(plan),
    ...capabilityRefusals(capabilities),
    ...ownRam(intent),
    ...(intent.purpose === "reboot" ? lostAtReboot(intent) : []),
  ];
}

/** What the checkpoint needs would not be found again after a reboot of the host. */
function lostAtReboot({ subject, mode, capabilities, place, uri }: OutgoingIntent): readonly Refusal[] {
  const inPlace = placeRam(subject.ram.blocks, mode, capabilities).filter((placement) => placement.inPlace);
  return [
    ...inPlace
      .filter(({ block }) => !block.backing.supports.survivesReboot)
      .map(({ block: { id, backing } }) =>
        migrationErrors.ERR_CPR_RAM_LOST_AT_REBOOT({ id, location: backing.location }),
      ),
    ...inPlace.flatMap(({ block: { id, backing, mark } }) =>
      backing.supports.survivesReboot && mark?.survivesReboot() === false
        ? [migrationErrors.ERR_CPR_MARK_LOST_AT_REBOOT({ id, path: mark.path })]
        : [],
    ),
    ...(place?.survivesReboot === false ? [migrationErrors.ERR_CPR_PLACE_LOST_AT_REBOOT({ uri: uri.text })] : []),
  ].map(refusal);
}

/** A checkpoint would take the place of the file that RAM is in. */
function ownRam({ subject, place, uri }: OutgoingIntent): readonly Refusal[] {
  const block = subject.ram.blocks.find(
    ({ backing }) => backing.identity !== undefined && backing.identity === place?.identity,
  );
  return block === undefined ? [] : [refusal(migrationErrors.ERR_CPR_PLACE_IS_RAM({ uri: uri.text, id: block.id }))];
}

/** The same for the incoming side. */
export function incomingRefusals(intent: MigrationIntent): readonly Refusal[] {
  const plan = planOf(intent);
  return [
    ...brokenTransportRules(plan).map(refusal),
    ...intent.mode.judgeIncoming(plan),
    ...capabilityRefusals(intent.capabilities),
  ];
}

/** Throws the first of the refusals, if there is one, with all of them in its details. */
export function refuse(refusals: readonly Refusal[]): void {
  const [first] = refusals;
  if (first !== undefined) {
    const { code, message, hint, category = "refused" } = first;
    throw new CprError(code, category, message, { hint, details: { refusals } });
  }
}

/** An error as data. */
export function refusal({ code, message, hint }: CprError): Refusal {
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

function planOf({
  subject,
  uri,
  transport,
  transports,
  capabilities,
  channels,
  purpose,
}: MigrationIntent): MigrationPlan {
  return {
    uri,
    transport: transport.supports,
    transports: transports.map(({ scheme, supports }) => ({ scheme, supports })),
    capabilities,
    directIo: channels.direct,
    purpose,
    runState: subject.runState,
    memory: subject.ram.blocks.map(({ id, backing: { location, supports } }) => ({ id, location, supports })),
  };
}

function volatileRam({ subject, mode }: MigrationIntent): readonly Refusal[] {
  return subject.ram.blocks.flatMap(({ id, backing: { location, supports } }) =>
    mode.keepsInPlace(supports)
      ? []
      : [refusal(migrationErrors.ERR_CPR_RAM_VOLATILE({ id, location, mode: mode.name }))],
  );
}

function runStateRefusals(runState: RunState): readonly Refusal[] {
  switch (runState) {
    case "inmigrate":
      return [refusal(migrationErrors.ERR_CPR_MIGRATE_IN_INMIGRATE({}))];
    case "postmigrate":
      return [refusal(migrationErrors.ERR_CPR_MIGRATE_IN_POSTMIGRATE({}))];
    default:
      return [];
  }
}

function capabilityRefusals(capabilities: ReadonlySet<string>): readonly Refusal[] {
  return [...capabilities]
    .filter((name) => capabilityDefinitions[name]?.supported !== "yes")
    .map((name) =>
      refusal(migrationErrors.ERR_CPR_CAPABILITY_UNSUPPORTED({ name, supported: supportedCapabilities() })),
    );
}
