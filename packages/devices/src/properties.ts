import type { DeviceContext } from "@cpr/core";
import { deviceErrors } from "./errors.ts";

/** Reads the properties of one device, with an error that names the device and the property. */
export class Properties {
  readonly #context: DeviceContext;

  constructor(context: DeviceContext) {
    this.#context = context;
  }

  /** An integer from 0 to `limit`, decimal if a user wrote it; `fallback` if it was not given. */
  integer(name: string, limit: number, fallback?: number): number {
    const given = this.#context.properties[name] ?? fallback;
    const value = typeof given === "string" && /^\d{1,15}$/.test(given) ? Number(given) : given;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > limit) {
      throw this.#error(name, `an integer from 0 to ${limit}`);
    }
    return value;
  }

  /** A text that is not empty. */
  text(name: string): string {
    const value = this.#context.properties[name];
    if (typeof value !== "string" || value === "") {
      throw this.#error(name, "a text");
    }
    return value;
  }

  /** A UUID, or `fallback`, which may be given too. */
  uuid(name: string, fallback: string): string {
    const value = this.#context.properties[name] ?? fallback;
    if (
      typeof value !== "string" ||
      (value !== fallback && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value))
    ) {
      throw this.#error(name, `a UUID or '${fallback}'`);
    }
    return value;
  }

  /** A text, or undefined if none was given. */
  optionalText(name: string): string | undefined {
    return this.#context.properties[name] === undefined ? undefined : this.text(name);
  }

  /** A truth value, `on` or `off` if a user wrote it; `fallback` if it was not given. */
  flag(name: string, fallback: boolean): boolean {
    const given = this.#context.properties[name] ?? fallback;
    const value = given === "on" ? true : given === "off" ? false : given;
    if (typeof value !== "boolean") {
      throw this.#error(name, "on or off");
    }
    return value;
  }

  /** An object that the board wires to the device, with the methods that the device will call. */
  part<T>(name: string, ...methods: readonly (keyof T & string)[]): T {
    const value = this.#context.properties[name] as Record<string, unknown> | undefined;
    if (typeof value !== "object" || value === null || methods.some((method) => typeof value[method] !== "function")) {
      throw this.#error(name, `an object with ${methods.join(", ")}`);
    }
    return value as T;
  }

  #error(property: string, expected: string): Error {
    return deviceErrors.ERR_CPR_DEVICE_PROPERTY({ device: this.#context.id, property, expected });
  }
}
