import { migrationErrors } from "../errors/migration-errors.ts";
import { CprError } from "../errors.ts";
import type { DeviceDescription } from "../machine-thread/machine-control.ts";
import type { MigrationMode, MigrationPlan, Refusal } from "../migration-mode.ts";
import type { RunState } from "../runstate.ts";
import type { Transport, TransportUri } from "../transport.ts";
import { capabilityDefinitions } from "./capabilities.ts";
import { type ChannelSettings, supportedCapabilities } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";
import { brokenTransportRules } from "./transport-rules.ts";

/** The runstates from which a VM can be saved. */
const movable: readonly RunState[] = ["running", "paused", "suspended", "prelaunch"];

/** What is to be judged. */
export function planFor(
  { ram, runState }: MigrationSubject,
  uri: TransportUri,
  transport: Transport,
  capabilities: ReadonlySet<string>,
  { direct: directIo }: ChannelSettings,
): MigrationPlan {
  const memory = ram.blocks.map(({ id, backing: { location, supports } }) => ({ id, location, supports }));
  return { uri, transport: transport.supports, capabilities, directIo, runState, memory };
}

/**
 * Every reason why the outgoing migration must not start, the most telling one first. It is computed from what mode,
 * transport, RAM and devices state about themselves; nothing is opened or stopped.
 */
export function outgoingRefusals(
  mode: MigrationMode,
  plan: MigrationPlan,
  devices: readonly DeviceDescription[],
): readonly Refusal[] {
  return [
    ...brokenTransportRules(plan).map(refusal),
    ...runStateRefusals(plan.runState),
    ...blockers(devices, mode.name).map(({ device, reason }) =>
      refusal(migrationErrors.ERR_CPR_BLOCKED({ device, mode: mode.name, reason })),
    ),
    ...mode.judgeOutgoing(plan),
    ...capabilityRefusals(plan.capabilities),
  ];
}

/** The same for the incoming side. */
export function incomingRefusals(mode: MigrationMode, plan: MigrationPlan): readonly Refusal[] {
  return [
    ...brokenTransportRules(plan).map(refusal),
    ...mode.judgeIncoming(plan),
    ...capabilityRefusals(plan.capabilities),
  ];
}

/** Devices that cannot be saved in a mode, and why. */
export function blockers(
  devices: readonly DeviceDescription[],
  mode: string,
): readonly { readonly device: string; readonly reason: string }[] {
  return devices.flatMap(({ id, blocked }) =>
    blocked?.modes.includes(mode) === true ? [{ device: id, reason: blocked.reason }] : [],
  );
}

/** Throws the first of the refusals, if there is one. */
export function refuse(refusals: readonly Refusal[]): void {
  const [first] = refusals;
  if (first !== undefined) {
    throw new CprError(first.code, "refused", first.message, { hint: first.hint, details: { refusals } });
  }
}

/** An error as data. */
export function refusal({ code, message, hint }: CprError): Refusal {
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

function runStateRefusals(runState: RunState): readonly Refusal[] {
  if (movable.includes(runState)) {
    return [];
  }
  switch (runState) {
    case "inmigrate":
      return [refusal(migrationErrors.ERR_CPR_MIGRATE_IN_INMIGRATE({}))];
    case "postmigrate":
      return [refusal(migrationErrors.ERR_CPR_MIGRATE_IN_POSTMIGRATE({}))];
    default:
      return [refusal(migrationErrors.ERR_CPR_MIGRATE_IN_RUNSTATE({ runState }))];
  }
}

function capabilityRefusals(capabilities: ReadonlySet<string>): readonly Refusal[] {
  return [...capabilities]
    .filter((name) => capabilityDefinitions[name]?.supported !== "yes")
    .map((name) =>
      refusal(migrationErrors.ERR_CPR_CAPABILITY_UNSUPPORTED({ name, supported: supportedCapabilities() })),
    );
}
