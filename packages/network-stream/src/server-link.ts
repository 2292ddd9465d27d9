import { closeSync, lstatSync, unlinkSync } from "node:fs";
import { networkErrors, systemReason } from "@cpr/core";
import { DescriptorServer, PolledDescriptor } from "@cpr/native-socket";
import { streamErrors } from "./errors.ts";
import { SocketLink } from "./socket-link.ts";
import { resolveAddress, type StreamAddress, showAddress } from "./stream-address.ts";

/** Who is connected can connect again to the process that comes. */
const supports = { offloads: false, survivesProcessExit: true } as const;

/** Listens at an address while the VM runs; one at a time can be connected. */
export class ServerLink extends SocketLink {
  readonly #id: string;
  readonly #address: StreamAddress;
  #server: DescriptorServer | undefined;

  constructor({ id, address }: { readonly id: string; readonly address: StreamAddress }) {
    super(supports);
    this.#id = id;
    this.#address = address;
  }

  protected async connect(): Promise<void> {
    const place = showAddress(this.#address);
    try {
      if (this.#address.kind === "unix") await removeLeftOver(this.#address.path);
      const address = await resolveAddress(this.#address);
      this.#server = DescriptorServer.accept(address, (descriptor) => this.#accept(descriptor));
    } catch (cause) {
      throw (cause as NodeJS.ErrnoException).code === "EADDRINUSE"
        ? networkErrors.ERR_CPR_NETWORK_BUSY({ id: this.#id, place: `'${place}'` }, { cause })
        : streamErrors.ERR_CPR_NETWORK_LISTEN({ id: this.#id, address: place, reason: systemReason(cause) }, { cause });
    }
  }

  protected release(): void {
    this.#server?.close();
    this.#server = undefined;
    this.disconnect();
  }

  protected lost(): void {
    // The next one may come.
  }

  #accept(descriptor: number): void {
    if (this.up) closeSync(descriptor);
    else this.connected(new PolledDescriptor(descriptor));
  }
}

/** Removes a socket at which nobody listens any more; what is no socket stays. */
async function removeLeftOver(path: string): Promise<void> {
  try {
    (await PolledDescriptor.connect([path])).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED" && lstatSync(path).isSocket()) unlinkSync(path);
  }
}
