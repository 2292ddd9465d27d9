import { setTimeout as delay } from "node:timers/promises";
import { systemReason } from "@cpr/core";
import { PolledDescriptor } from "@cpr/native-socket";
import { streamErrors } from "./errors.ts";
import { SocketLink } from "./socket-link.ts";
import { resolveAddress, type StreamAddress, showAddress } from "./stream-address.ts";

/** What survives is the other side's affair: it sees that the connection ends, and another come. */
const supports = { offloads: false, survivesProcessExit: true } as const;

/** What a {@link ClientLink} is made from. */
export interface ClientLinkOptions {
  readonly id: string;
  readonly address: StreamAddress;
  /** Milliseconds until a connection that failed or was lost is tried again; 0: never. */
  readonly reconnect: number;
}

/** Connects to who listens at an address, while the VM runs. */
export class ClientLink extends SocketLink {
  readonly #options: ClientLinkOptions;
  #attempt: AbortController | undefined;

  constructor(options: ClientLinkOptions) {
    super(supports);
    this.#options = options;
  }

  protected async connect(): Promise<void> {
    const { id, address, reconnect } = this.#options;
    this.#attempt = new AbortController();
    const { signal } = this.#attempt;
    try {
      await this.#connectOnce(signal);
    } catch (cause) {
      if (reconnect === 0) {
        const details = { id, address: showAddress(address), reason: systemReason(cause) };
        throw streamErrors.ERR_CPR_NETWORK_CONNECT(details, { cause });
      }
      void this.#tryAgain(signal);
    }
  }

  protected release(): void {
    this.#attempt?.abort();
    this.#attempt = undefined;
    this.disconnect();
  }

  protected lost(): void {
    if (this.#options.reconnect > 0 && this.#attempt !== undefined) void this.#tryAgain(this.#attempt.signal);
  }

  async #connectOnce(signal: AbortSignal): Promise<void> {
    const descriptor = await PolledDescriptor.connect(await resolveAddress(this.#options.address), signal);
    if (signal.aborted) descriptor.close();
    else this.connected(descriptor);
  }

  async #tryAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.up) {
      try {
        await delay(this.#options.reconnect, undefined, { signal, ref: false });
        await this.#connectOnce(signal);
      } catch {
        // Nobody is there yet, or it is not wanted any more.
      }
    }
  }
}
