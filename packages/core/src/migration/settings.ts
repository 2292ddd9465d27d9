import { migrationErrors } from "../errors/migration-errors.ts";
import { pluginErrors } from "../errors/plugin-errors.ts";
import type { GuestTime } from "../machine-thread/guest-time.ts";
import { parseMemorySize } from "../memory-size.ts";
import type { CheckpointPurpose } from "../migration-mode.ts";
import type { MigrationOverrides, MigrationSettings } from "../virtual-machine.ts";
import type { MigrationConfiguration } from "../virtual-machine-configuration.ts";
import { brokenRule, capabilityDefinitions } from "./capabilities.ts";
import { type ParameterDefinition, type ParameterValue, parameterDefinitions, qemuModes } from "./parameters.ts";

/** What the settings need to know from outside. */
export interface SettingsContext {
  /** The names of the installed migration modes. */
  readonly modes: readonly string[];
  /** Whether a migration is under way. */
  active(): boolean;
}

/** How pages of RAM go to and from positions of a stream: see {@link TransportChannel}. */
export interface ChannelSettings {
  /** How many threads copy pages. */
  readonly count: number;
  /** They bypass the host's page cache: with `mapped-ram` and `multifd` only, as in QEMU. */
  readonly direct: boolean;
}

/** The settings that one migration is performed with, as they are when it begins. */
export interface EffectiveSettings {
  readonly mode: string;
  readonly capabilities: ReadonlySet<string>;
  /** Bytes per second; undefined for no limit. */
  readonly bandwidth: number | undefined;
  readonly channels: ChannelSettings;
  /** What a checkpoint is made for. */
  readonly purpose: CheckpointPurpose;
  /** How time passes for the guest until it is loaded. */
  readonly guestTime: GuestTime;
  /** Ids of host files that may have changed since the VM was saved. */
  readonly acceptedFiles: readonly string[];
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

  /** What a migration that begins now is performed with. */
  effective(overrides: MigrationOverrides = {}): EffectiveSettings {
    const capabilities = overrides.capabilities === undefined ? this.enabled() : new Set(overrides.capabilities);
    const bandwidth = this.#parameters.get("max-bandwidth") as number;
    const multifd = capabilities.has("multifd");
    return {
      mode: overrides.mode ?? this.mode,
      capabilities,
      bandwidth: bandwidth === 0 ? undefined : bandwidth,
      channels: {
        count: multifd ? (this.#parameters.get("multifd-channels") as number) : 1,
        direct: multifd && capabilities.has("mapped-ram") && this.#parameters.get("direct-io") === true,
      },
      purpose: this.#parameters.get("x-checkpoint-for") as CheckpointPurpose,
      guestTime: this.#parameters.get("x-guest-time") as GuestTime,
      acceptedFiles: (this.#parameters.get("x-accept-changed-files") as string).split(",").filter((id) => id !== ""),
    };
  }

  capabilities(): ReadonlyMap<string, boolean> {
    return this.#capabilities;
  }

  /** The names of the capabilities that are on. */
  enabled(): ReadonlySet<string> {
    return namesOf(this.#capabilities);
  }

  setCapability(name: string, on: boolean): void {
    this.setCapabilities([{ capability: name, state: on }]);
  }

  setCapabilities(list: readonly { readonly capability: string; readonly state: boolean }[]): void {
    for (const { capability: name } of list) {
      if (!Object.hasOwn(capabilityDefinitions, name)) {
        throw migrationErrors.ERR_CPR_CAPABILITY_UNKNOWN({ name, known: Object.keys(capabilityDefinitions) });
      }
    }
    this.#refuseWhileActive();
    const result = new Map([
      ...this.#capabilities,
      ...list.map(({ capability, state }) => [capability, state] as const),
    ]);
    const unsupported = list.find(
      ({ capability: name, state }) => state && capabilityDefinitions[name]?.supported === "no",
    );
    if (unsupported !== undefined) {
      const { capability: name } = unsupported;
      throw migrationErrors.ERR_CPR_CAPABILITY_UNSUPPORTED({ name, supported: supportedCapabilities() });
    }
    const rule = brokenRule(namesOf(result));
    if (rule !== undefined) {
      throw migrationErrors.ERR_CPR_CAPABILITY_CONFLICT({ capabilities: rule.on, reason: rule.reason });
    }
    for (const [name, on] of result) {
      this.#capabilities.set(name, on);
    }
  }

  parameters(): ReadonlyMap<string, ParameterValue> {
    return this.#parameters;
  }

  setParameter(name: string, value: string): void {
    this.#setParameters([[name, value]], fromText);
  }

  setParameters(values: Readonly<Record<string, unknown>>): void {
    this.#setParameters(Object.entries(values), fromData);
  }

  /**
   * Sets what the command line gives, all or nothing. QEMU writes some of the names with `x-` before them.
   *
   * @throws {CprError} ERR_CPR_MIGRATION_PROPERTY, or as {@link setCapability} and {@link setParameter}
   */
  configure({ properties, modes }: MigrationConfiguration): void {
    for (const name of modes) {
      this.#checkMode(name);
    }
    const capabilities: { readonly capability: string; readonly state: boolean }[] = [];
    const parameters: (readonly [string, string])[] = [];
    for (const { name, value } of properties) {
      const [capability, parameter] = [capabilityDefinitions, parameterDefinitions].map((definitions) =>
        [name, name.replace(/^x-/, "")].find((each) => Object.hasOwn(definitions, each)),
      );
      if (capability !== undefined) {
        capabilities.push({ capability, state: switchOf(capability, value) });
      } else if (parameter !== undefined) {
        parameters.push([parameter, value]);
      } else {
        throw migrationErrors.ERR_CPR_MIGRATION_PROPERTY({ name });
      }
    }
    this.#setParameters(parameters, fromText);
    this.setCapabilities(capabilities);
  }

  /** All of them, or none if one cannot be. */
  #setParameters<V>(
    values: readonly (readonly [name: string, value: V])[],
    read: (name: string, definition: ParameterDefinition, value: V) => ParameterValue,
  ): void {
    for (const [name] of values) {
      if (!Object.hasOwn(parameterDefinitions, name)) {
        const known = Object.keys(parameterDefinitions);
        throw migrationErrors.ERR_CPR_PARAMETER_UNKNOWN({ name, known, typed: read !== fromText });
      }
    }
    this.#refuseWhileActive();
    const result = values.map(([name, given]) => {
      const definition = parameterDefinitions[name] as ParameterDefinition;
      const value = read(name, definition, given);
      if (!definition.supported && value !== definition.initial) {
        throw migrationErrors.ERR_CPR_PARAMETER_UNSUPPORTED({ name, supported: supportedParameters() });
      }
      if (name === "mode") {
        this.#checkMode(value as string);
      }
      return [name, value] as const;
    });
    for (const [name, value] of result) {
      this.#parameters.set(name, value);
    }
  }

  #checkMode(name: string): void {
    const known = this.#context.modes;
    if (known.includes(name)) {
      return;
    }
    throw qemuModes.includes(name)
      ? migrationErrors.ERR_CPR_MODE_UNSUPPORTED({ name, known })
      : pluginErrors.ERR_CPR_NO_MIGRATION_MODE({ name, known });
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

/** The value that a person means. */
function fromText(name: string, definition: ParameterDefinition, text: string): ParameterValue {
  const { initial, range, size } = definition;
  if (range !== undefined) {
    const number = size === undefined ? (/^\d+$/.test(text) ? Number(text) : Number.NaN) : sizeOrNaN(text, size);
    return inRange(name, definition, number, text);
  }
  if (typeof initial === "boolean") {
    return switchOf(name, text);
  }
  return oneOf(name, definition, text);
}

function switchOf(name: string, text: string): boolean {
  const on = ["on", "yes", "true", "y"].includes(text);
  if (!on && !["off", "no", "false", "n"].includes(text)) {
    throw migrationErrors.ERR_CPR_PARAMETER_VALUE({ name, value: text, expected: "'on' or 'off'" });
  }
  return on;
}

/** The value that a program means: JSON of the parameter's type. Null and an empty list mean that there is none. */
function fromData(name: string, definition: ParameterDefinition, value: unknown): ParameterValue {
  const { initial, range, words } = definition;
  const wrongType = (expected: string) => migrationErrors.ERR_CPR_PARAMETER_TYPE({ name, expected });
  if (range !== undefined) {
    if (typeof value !== "number" || !Number.isInteger(value)) {
      throw wrongType(definition.size === undefined ? "integer" : "uint64");
    }
    return inRange(name, definition, value, String(value));
  }
  if (typeof initial === "boolean") {
    if (typeof value !== "boolean") {
      throw wrongType("boolean");
    }
    return value;
  }
  if (initial === "" && words === undefined && (value === null || (Array.isArray(value) && value.length === 0))) {
    return initial;
  }
  if (Array.isArray(value) && !definition.supported) {
    throw migrationErrors.ERR_CPR_PARAMETER_UNSUPPORTED({ name, supported: supportedParameters() });
  }
  if (typeof value !== "string") {
    throw wrongType("string");
  }
  return oneOf(name, definition, value);
}

function inRange(
  name: string,
  { range = [0, 0], expects }: ParameterDefinition,
  number: number,
  value: string,
): number {
  const [least, greatest] = range;
  if (!(number >= least && number <= greatest)) {
    const expected = expects ?? `a value between ${least} and ${greatest}`;
    throw migrationErrors.ERR_CPR_PARAMETER_RANGE({ name, value, expected });
  }
  return number;
}

function oneOf(name: string, { words }: ParameterDefinition, value: string): string {
  if (words !== undefined && !words.includes(value)) {
    throw migrationErrors.ERR_CPR_PARAMETER_WORD({ name, value, known: words });
  }
  return value;
}

function sizeOrNaN(text: string, unit: "B" | "M"): number {
  try {
    return parseMemorySize(text, unit);
  } catch {
    return Number.NaN;
  }
}

function namesOf(capabilities: ReadonlyMap<string, boolean>): ReadonlySet<string> {
  return new Set([...capabilities].flatMap(([name, on]) => (on ? [name] : [])));
}
