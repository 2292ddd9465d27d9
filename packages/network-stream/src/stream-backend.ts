import { type NetworkBackend, type NetworkLink, type NetworkOptions, NetworkProperties } from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { ClientLink } from "./client-link.ts";
import { ServerLink } from "./server-link.ts";
import { readAddress } from "./stream-address.ts";

const millisecondsPerSecond = 1000;
const aDay = 86_400;

/**
 * `-netdev stream`: frames through a stream socket, to another VM, a switch or passt (QEMU: `NetdevStreamOptions`). The
 * connection is there only while the VM runs.
 */
@injectable()
export class StreamBackend implements NetworkBackend {
  readonly name = "stream";
  readonly supports = { offloads: false, survivesProcessExit: true } as const;

  async open(options: NetworkOptions): Promise<NetworkLink> {
    const properties = new NetworkProperties(options);
    const { id } = options;
    const server = properties.flag("server", false);
    const address = readAddress(properties);
    const seconds = properties.integer("reconnect", 0, aDay) ?? 0;
    const reconnect =
      properties.integer("reconnect-ms", 0, aDay * millisecondsPerSecond) ?? seconds * millisecondsPerSecond;
    properties.done();
    if (!server) return new ClientLink({ id, address, reconnect });
    if (reconnect > 0) throw properties.error("reconnect-ms", "server=off: a server waits for others");
    return new ServerLink({ id, address });
  }
}
