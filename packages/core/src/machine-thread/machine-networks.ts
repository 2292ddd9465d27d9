import { networkErrors } from "../errors/network-errors.ts";
import type { Kernel } from "../kernel.ts";
import { NetworkBackend, type NetworkLink, type NetworkOptions, type NetworkSituation } from "../network-backend.ts";
import { SwitchableLink } from "./switchable-link.ts";

/** The networks of a machine: opened before its devices are made, held only while it runs. */
export class MachineNetworks {
  readonly #links = new Map<string, SwitchableLink>();
  /** Which device has which. */
  readonly #devices = new Map<string, string>();

  /** @throws {CprError} what a backend says; everything is closed then. */
  async open(kernel: Kernel, networks: readonly NetworkOptions[], situation: NetworkSituation): Promise<void> {
    try {
      for (const options of networks) {
        const { id, type } = options;
        if (this.#links.has(id)) throw networkErrors.ERR_CPR_NETWORK_DUPLICATE({ id });
        const backend = await kernel.get(NetworkBackend, type);
        this.#links.set(id, new SwitchableLink(await backend.open(options, situation)));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** A network for one device. @throws {CprError} ERR_CPR_NETWORK_NOT_FOUND or ERR_CPR_NETWORK_IN_USE */
  take(id: string, device: string): NetworkLink {
    const link = this.#links.get(id);
    if (link === undefined)
      throw networkErrors.ERR_CPR_NETWORK_NOT_FOUND({ device, id, known: [...this.#links.keys()] });
    if (this.#devices.has(id)) throw networkErrors.ERR_CPR_NETWORK_IN_USE({ device, id });
    this.#devices.set(id, device);
    return link;
  }

  /**
   * Plugs a network's cable in, or pulls it out.
   *
   * @param name - the id of the network, or of the device that has it.
   * @throws {CprError} ERR_CPR_NO_LINK
   */
  setLink(name: string, up: boolean): void {
    const id = [...this.#devices].find(([, device]) => device === name)?.[0] ?? name;
    const link = this.#links.get(id);
    if (link === undefined) {
      throw networkErrors.ERR_CPR_NO_LINK({ name, known: [...this.#links.keys(), ...this.#devices.values()] });
    }
    link.plug(up);
  }

  /** Takes what only one process can have of the networks that devices have. @throws {CprError} if one cannot be had. */
  async start(): Promise<void> {
    for (const id of this.#devices.keys()) await this.#links.get(id)?.start();
  }

  /** Gives up what {@link start} took; also after it failed. */
  stop(): void {
    for (const id of this.#devices.keys()) this.#links.get(id)?.stop();
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    this.#devices.clear();
  }
}
