import { migrationErrors } from "../errors/migration-errors.ts";
import { type CprError, isCprError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { MigrationMode, type Refusal } from "../migration-mode.ts";
import type { Transport, TransportUri } from "../transport.ts";
import type { MigrationForecast, RamForecast } from "../virtual-machine.ts";
import { blockers, outgoingRefusals, planFor, refusal } from "./preflight.ts";
import { placeRam, type RamPlacement } from "./ram-placement.ts";
import type { StoredSettings } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";
import { parseTransportUri, transportFor } from "./transport-uri.ts";

/** What `migrate` would do: the same judgement and the same decisions, as data, while the guest may run. */
export async function forecastMigration(
  kernel: Kernel,
  subject: MigrationSubject,
  settings: StoredSettings,
  text: string,
  active: boolean,
): Promise<MigrationForecast> {
  const capabilities = settings.enabled();
  const mode = await kernel.get(MigrationMode, settings.mode);
  const place = await findPlace(kernel, text);
  const refusals: Refusal[] = isCprError(place) ? [refusal(place)] : [];
  if (active) {
    refusals.push(refusal(migrationErrors.ERR_CPR_MIGRATION_ACTIVE({})));
  }
  if (!isCprError(place)) {
    const { uri, transport } = place;
    refusals.push(
      ...outgoingRefusals(mode, planFor(subject, uri, transport, capabilities, settings.channels), subject.devices),
    );
  }
  const ram = placeRam(subject.ram.blocks, mode, capabilities).map(forecastRam);
  return {
    uri: text,
    mode: mode.name,
    runState: subject.runState,
    capabilities: [...capabilities],
    ...(isCprError(place) ? {} : { transport: { scheme: place.transport.scheme, supports: place.transport.supports } }),
    refusals,
    blockedReasons: blockers(subject.devices, mode.name).map(({ reason }) => reason),
    ram,
    copied: ram.reduce((sum, { copied }) => sum + copied, 0),
  };
}

async function findPlace(
  kernel: Kernel,
  text: string,
): Promise<{ readonly uri: TransportUri; readonly transport: Transport } | CprError> {
  try {
    const uri = parseTransportUri(text);
    return { uri, transport: await transportFor(kernel, uri) };
  } catch (error) {
    if (isCprError(error)) {
      return error;
    }
    throw error;
  }
}

function forecastRam({ block, inPlace, reason, looksShared }: RamPlacement): RamForecast {
  const { id, bytes, backing } = block;
  const copied = inPlace ? 0 : backing.dataRanges().reduce((sum, [start, end]) => sum + end - start, 0);
  return { id, size: bytes.length, location: backing.location, inPlace, reason, looksShared, copied };
}
