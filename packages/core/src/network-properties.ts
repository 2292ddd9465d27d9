import { networkErrors } from "./errors/network-errors.ts";
import type { NetworkOptions } from "./network-backend.ts";

const switches: Readonly<Record<string, boolean>> = {
  on: true,
  yes: true,
  true: true,
  y: true,
  off: false,
  no: false,
  false: false,
  n: false,
};

/** Reads the properties of a network as QEMU writes them, with errors that name the network and the property. */
export class NetworkProperties {
  readonly #options: NetworkOptions;
  readonly #read = new Set<string>();

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** A text that is not empty; undefined if it was not given. */
  text(name: string, expected = "a text"): string | undefined {
    this.#read.add(name);
    const value = this.#options.properties[name];
    if (value === "") throw this.error(name, expected);
    return value;
  }

  /** A text that must be given. */
  requiredText(name: string, expected: string): string {
    const value = this.text(name, expected);
    if (value === undefined) throw this.error(name, expected);
    return value;
  }

  /** A switch: `on`, `off` and their synonyms. */
  flag(name: string, fallback: boolean): boolean {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const result = Object.hasOwn(switches, value) ? switches[value] : undefined;
    if (result === undefined) throw this.error(name, "'on' or 'off'");
    return result;
  }

  /** A decimal number in a range; undefined if it was not given. */
  integer(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : -1;
    if (value < least || value > most) throw this.error(name, `a number from ${least} to ${most}`);
    return value;
  }

  /** Refuses what nobody has read. */
  done(): void {
    const unknown = Object.keys(this.#options.properties).find((name) => !this.#read.has(name));
    if (unknown !== undefined) throw this.error(unknown);
  }

  /** The error for a property: it is not expected at all if nothing is said of what it should be. */
  error(property: string, expected?: string): Error {
    const { id, type } = this.#options;
    return networkErrors.ERR_CPR_NETWORK_PROPERTY({
      id,
      type,
      property,
      ...(expected === undefined ? {} : { expected }),
    });
  }
}
