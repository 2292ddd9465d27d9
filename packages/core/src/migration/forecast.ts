import { isCprError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { MigrationMode, type Refusal } from "../migration-mode.ts";
import type { PlaceReport } from "../transport.ts";
import type { MigrationForecast, RamForecast } from "../virtual-machine.ts";
import { blockedBy } from "./blocked.ts";
import { findIntent } from "./intent.ts";
import { type MigrationIntent, outgoingRefusals, refusal } from "./preflight.ts";
import { placeRam, type RamPlacement } from "./ram-placement.ts";
import type { EffectiveSettings } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";

/** What `migrate` would do: the same judgement and the same decisions, as data, while the guest may run. */
export async function forecastMigration(
  kernel: Kernel,
  subject: MigrationSubject,
  settings: EffectiveSettings,
  uri: string,
): Promise<MigrationForecast> {
  const mode = await kernel.get(MigrationMode, settings.mode);
  const refusals: Refusal[] = [];
  let intent: MigrationIntent | undefined;
  let place: PlaceReport | undefined;
  try {
    intent = await findIntent(kernel, subject, settings, uri);
    place = await intent.transport.examine?.(intent.uri);
  } catch (error) {
    if (!isCprError(error)) {
      throw error;
    }
    refusals.push(refusal(error));
  }
  if (intent !== undefined) {
    refusals.push(...outgoingRefusals({ ...intent, inPlaceOnly: false, place }));
    // As in `migrate`, whether the place can be used comes last.
    refusals.push(
      ...(place?.problem === undefined ? [] : [{ ...refusal(place.problem), category: place.problem.category }]),
    );
  }
  const ram = placeRam(subject.ram.blocks, mode, settings.capabilities).map(forecastRam);
  return {
    uri,
    mode: mode.name,
    purpose: settings.purpose,
    runState: subject.runState,
    capabilities: [...settings.capabilities],
    ...(intent === undefined
      ? {}
      : { transport: { scheme: intent.transport.scheme, supports: intent.transport.supports } }),
    refusals,
    blockedReasons: blockedBy(subject, mode.name).map(({ reason }) => reason),
    ram,
    copied: ram.reduce((sum, { copied }) => sum + copied, 0),
    ...(place?.free === undefined ? {} : { free: place.free }),
    ...(place?.survivesReboot === undefined ? {} : { survivesReboot: place.survivesReboot }),
  };
}

function forecastRam({ block, inPlace, reason, looksShared }: RamPlacement): RamForecast {
  const { id, bytes, backing } = block;
  const copied = inPlace ? 0 : backing.dataRanges().reduce((sum, [start, end]) => sum + end - start, 0);
  const { location, supports } = backing;
  const { survivesReboot } = supports;
  return { id, size: bytes.length, location, survivesReboot, inPlace, reason, looksShared, copied };
}
