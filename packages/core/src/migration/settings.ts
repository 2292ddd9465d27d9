import { migrationErrors } from "../errors/migration-errors.ts";
import { pluginErrors } from "../errors/plugin-errors.ts";
import type { GuestTime } from "../machine-thread/guest-time.ts";
import { parseMemorySize } from "../memory-size.ts";
import type { MigrationSettings } from "../virtual-machine.ts";
import { capabilityConflicts, capabilityDefinitions } from "./capabilities.ts";
import { type ParameterDefinition, type ParameterValue, parameterDefinitions } from "./parameters.ts";

/** What the settings need to know from outside. */
export interface SettingsContext {
  /** The names of the installed migration modes. */
  readonly modes: readonly string[];
  /** Whether a migration is under way. */
  active(): boolean;
}

/** The capabilities and parameters of one VM. */
export class StoredSettings implements MigrationSettings {
  readonly #context: SettingsContext;
  readonly #capabilities = new Map(Object.keys(capabilityDefinitions).map((name) => [name, false]));
  readonly #parameters = new Map<string, ParameterValue>(
    Object.entries(parameterDefinitions).map(([name, { initial }]) => [name, initial]),
  );

  constructor(context: SettingsContext) {
    this.#context = context;
  }

  /** The migration mode. */
  get mode(): string {
    return this.#parameters.get("mode") as string;
  }

  /** Bytes per second, or undefined for no limit. */
  get bandwidth(): number | undefined {
    const value = this.#parameters.get("max-bandwidth") as number;
    return value === 0 ? undefined : value;
  }

  /** How time passes for the guest until it is loaded. */
  get guestTime(): GuestTime {
    return this.#parameters.get("x-guest-time") as GuestTime;
  }

  capabilities(): ReadonlyMap<string, boolean> {
    return this.#capabilities;
  }

  /** The names of the capabilities that are on. */
  enabled(): ReadonlySet<string> {
    return new Set([...this.#capabilities].flatMap(([name, on]) => (on ? [name] : [])));
  }

  setCapability(name: string, on: boolean): void {
    const definition = Object.hasOwn(capabilityDefinitions, name) ? capabilityDefinitions[name] : undefined;
    if (definition === undefined) {
      throw migrationErrors.ERR_CPR_CAPABILITY_UNKNOWN({ name, known: Object.keys(capabilityDefinitions) });
    }
    this.#refuseWhileActive();
    if (on && definition.supported === "no") {
      throw migrationErrors.ERR_CPR_CAPABILITY_UNSUPPORTED({ name, supported: supportedCapabilities() });
    }
    if (on) {
      for (const { pair, reason } of capabilityConflicts) {
        const other = pair.find((each) => each !== name);
        if (pair.includes(name) && other !== undefined && this.#capabilities.get(other) === true) {
          throw migrationErrors.ERR_CPR_CAPABILITY_CONFLICT({ name, reason });
        }
      }
    }
    this.#capabilities.set(name, on);
  }

  parameters(): ReadonlyMap<string, ParameterValue> {
    return this.#parameters;
  }

  setParameter(name: string, value: string): void {
    const definition = Object.hasOwn(parameterDefinitions, name) ? parameterDefinitions[name] : undefined;
    if (definition === undefined) {
      throw migrationErrors.ERR_CPR_PARAMETER_UNKNOWN({ name, known: Object.keys(parameterDefinitions) });
    }
    this.#refuseWhileActive();
    if (!definition.supported) {
      throw migrationErrors.ERR_CPR_PARAMETER_UNSUPPORTED({ name, supported: supportedParameters() });
    }
    if (name === "mode" && !this.#context.modes.includes(value)) {
      throw pluginErrors.ERR_CPR_NO_MIGRATION_MODE({ name: value, known: this.#context.modes });
    }
    this.#parameters.set(name, parseParameter(name, definition, value));
  }

  #refuseWhileActive(): void {
    if (this.#context.active()) {
      throw migrationErrors.ERR_CPR_MIGRATION_ACTIVE({});
    }
  }
}

/** The capabilities that have an effect here. */
export function supportedCapabilities(): readonly string[] {
  return Object.entries(capabilityDefinitions).flatMap(([name, { supported }]) => (supported === "yes" ? [name] : []));
}

function supportedParameters(): readonly string[] {
  return Object.entries(parameterDefinitions).flatMap(([name, { supported }]) => (supported ? [name] : []));
}

function parseParameter(name: string, definition: ParameterDefinition, value: string): ParameterValue {
  const refuse = (expected: string): never => {
    throw migrationErrors.ERR_CPR_PARAMETER_VALUE({ name, value, expected });
  };
  const { initial, range, words } = definition;
  if (range !== undefined) {
    const [least, greatest] = range;
    const expected =
      definition.size === true ? "a size in bytes, e.g. 128M" : `a value between ${least} and ${greatest}`;
    const number = definition.size === true ? sizeOrNaN(value) : /^\d+$/.test(value) ? Number(value) : Number.NaN;
    return number >= least && number <= greatest ? number : refuse(expected);
  }
  if (typeof initial === "boolean") {
    return value === "on" || value === "true"
      ? true
      : value === "off" || value === "false"
        ? false
        : refuse("on or off");
  }
  return words === undefined || words.includes(value) ? value : refuse(words.join(", "));
}

function sizeOrNaN(value: string): number {
  try {
    // QEMU's monitor reads a bandwidth without a suffix as MiB/s.
    return parseMemorySize(value, "M");
  } catch {
    return Number.NaN;
  }
}
