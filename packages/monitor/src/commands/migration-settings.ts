import type { MonitorContext } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { monitorErrors } from "../monitor-errors.ts";

/** `migrate-set-parameters`: any number of them, all or none. */
export const MigrateSetParametersCommand = defineCommand({
  name: "migrate-set-parameters",
  summary: "set parameters of migration, e.g. mode",
  arguments: [],
  openArguments: true,
  execute: async ({ machine }, values) => {
    machine.settings.setParameters(values);
  },
});

/** `migrate_set_parameter`: one, as a person writes it. */
export const MigrateSetParameterCommand = defineCommand({
  name: "x-migrate-set-parameter",
  onlyFor: "people",
  words: "migrate_set_parameter",
  summary: "set a parameter of migration, e.g. mode cpr-reboot",
  arguments: [
    {
      name: "parameter",
      type: "string",
      summary: "its name",
      complete: ({ machine }: MonitorContext) => [...machine.settings.parameters().keys()],
    },
    { name: "value", type: "string", rest: true, summary: "its value" },
  ],
  execute: async ({ machine }, values) => {
    machine.settings.setParameter(String(values["parameter"]), String(values["value"]));
  },
});

interface CapabilityState {
  readonly capability: string;
  readonly state: boolean;
}

/** `migrate-set-capabilities`: any number of them, all or none. */
export const MigrateSetCapabilitiesCommand = defineCommand({
  name: "migrate-set-capabilities",
  summary: "switch capabilities of migration on and off",
  arguments: [
    {
      name: "capabilities",
      type: { listOf: { members: { capability: { value: "string" }, state: { value: "boolean" } } } },
      onlyFor: "programs",
      summary: "their names and states",
    },
  ],
  execute: async ({ machine }, { capabilities }) => {
    const list = capabilities as readonly CapabilityState[];
    const known = machine.settings.capabilities();
    for (const { capability } of list) {
      if (!known.has(capability)) {
        const problem = `Parameter 'capability' does not accept value '${capability}'`;
        throw monitorErrors.ERR_CPR_QMP_ARGUMENT({ problem });
      }
    }
    machine.settings.setCapabilities(list);
  },
});

/** `migrate_set_capability`: one, as a person writes it. */
export const MigrateSetCapabilityCommand = defineCommand({
  name: "x-migrate-set-capability",
  onlyFor: "people",
  words: "migrate_set_capability",
  summary: "switch a capability of migration on or off, e.g. x-ignore-shared on",
  arguments: [
    {
      name: "capability",
      type: "string",
      summary: "its name",
      complete: ({ machine }: MonitorContext) => [...machine.settings.capabilities().keys()],
    },
    { name: "state", type: "boolean", summary: "on or off" },
  ],
  execute: async ({ machine }, values) => {
    machine.settings.setCapability(String(values["capability"]), values["state"] === true);
  },
});

/** `query-migrate-capabilities` / `info migrate_capabilities` */
export const QueryMigrateCapabilitiesCommand = defineCommand({
  name: "query-migrate-capabilities",
  words: "info migrate_capabilities",
  summary: "show which capabilities of migration are on",
  arguments: [],
  execute: async ({ machine }): Promise<readonly CapabilityState[]> =>
    [...machine.settings.capabilities()].map(([capability, state]) => ({ capability, state })),
  print: (result) =>
    (result as readonly CapabilityState[])
      .map(({ capability, state }) => `${capability}: ${state ? "on" : "off"}`)
      .join("\n"),
});

/** Parameters that stay out of the answer while they are not set, because an empty text is no value of theirs. */
const listParameters: ReadonlySet<string> = new Set(["block-bitmap-mapping", "cpr-exec-command"]);

/** What QEMU's monitor prints behind a value. */
const units: Readonly<Record<string, string>> = {
  "announce-initial": " ms",
  "announce-max": " ms",
  "announce-step": " ms",
  "max-bandwidth": " bytes/second",
  "avail-switchover-bandwidth": " bytes/second",
  "downtime-limit": " ms",
  "x-checkpoint-delay": " ms",
  "xbzrle-cache-size": " bytes",
  "x-vcpu-dirty-limit-period": " ms",
  "vcpu-dirty-limit": " MB/s",
};

/** Texts that QEMU's monitor prints in quotes. */
const quoted: ReadonlySet<string> = new Set(["tls-creds", "tls-hostname", "tls-authz"]);

/** `query-migrate-parameters` / `info migrate_parameters` */
export const QueryMigrateParametersCommand = defineCommand({
  name: "query-migrate-parameters",
  words: "info migrate_parameters",
  summary: "show the parameters of migration",
  arguments: [],
  execute: async ({ machine }) =>
    Object.fromEntries(
      [...machine.settings.parameters()].filter(([name, value]) => value !== "" || !listParameters.has(name)),
    ),
  print: (result) =>
    Object.entries(result as Record<string, string | number | boolean>)
      .map(([name, value]) => {
        const text = typeof value === "boolean" ? (value ? "on" : "off") : String(value);
        return `${name}: ${quoted.has(name) ? `'${text}'` : text}${units[name] ?? ""}`;
      })
      .join("\n"),
});
