import { migrationErrors } from "../errors/migration-errors.ts";
import { pluginErrors } from "../errors/plugin-errors.ts";
import type { Kernel } from "../kernel.ts";
import { Transport, type TransportUri } from "../transport.ts";

/** Takes a URI apart. @throws {CprError} ERR_CPR_URI if it has no scheme. */
export function parseTransportUri(text: string): TransportUri {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(text);
  if (match === null) {
    throw migrationErrors.ERR_CPR_URI({ uri: text });
  }
  const [, scheme, rest] = match as unknown as [string, string, string];
  return { text, scheme, rest };
}

/** The transport for a URI. @throws {CprError} ERR_CPR_NO_TRANSPORT */
export async function transportFor(kernel: Kernel, uri: TransportUri): Promise<Transport> {
  if (!kernel.has(Transport, uri.scheme)) {
    throw pluginErrors.ERR_CPR_NO_TRANSPORT({ name: uri.scheme, uri: uri.text, known: kernel.keys(Transport) });
  }
  return kernel.get(Transport, uri.scheme);
}

/** All transports that are installed and work. One that cannot be loaded tells of it when it is used. */
export async function installedTransports(kernel: Kernel): Promise<readonly Transport[]> {
  const loaded = await Promise.allSettled(kernel.keys(Transport).map((scheme) => kernel.get(Transport, scheme)));
  return loaded.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}
