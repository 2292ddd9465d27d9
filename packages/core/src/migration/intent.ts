import type { Kernel } from "../kernel.ts";
import { MigrationMode } from "../migration-mode.ts";
import type { MigrationIntent } from "./preflight.ts";
import type { EffectiveSettings } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";
import { installedTransports, parseTransportUri, transportFor } from "./transport-uri.ts";

/**
 * Finds what a command names.
 *
 * @throws {CprError} if the URI, its transport or the mode are not known.
 */
export async function findIntent(
  kernel: Kernel,
  subject: MigrationSubject,
  { mode: name, ...settings }: EffectiveSettings,
  text: string,
): Promise<MigrationIntent> {
  const uri = parseTransportUri(text);
  const transport = await transportFor(kernel, uri);
  const [mode, transports] = await Promise.all([kernel.get(MigrationMode, name), installedTransports(kernel)]);
  return { ...settings, subject, uri, mode, transport, transports };
}
