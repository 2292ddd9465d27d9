import { defineError, defineErrors } from "../errors.ts";

const known = (what: string, names: readonly string[]): string =>
  names.length === 0 ? `No plugin that provides ${what} is installed.` : `Known: ${names.join(", ")}.`;

type MissingProvider = {
  readonly name: string;
  readonly known: readonly string[];
};

/** What can go wrong with plugins, and what is missing without one. */
export const pluginErrors = defineErrors({
  ERR_CPR_PLUGIN_NOT_FOUND: defineError<{ plugin: string; from: string }>({
    category: "plugin",
    when: "`--plugin` names a package or a folder that is not there.",
    message: ({ plugin, from }) => `Plugin '${plugin}' was not found from '${from}'`,
    hint: ({ plugin }) => `Install it with \`npm install ${plugin}\`, or give the path of its folder.`,
  }),
  ERR_CPR_PLUGIN_MANIFEST: defineError<{ plugin: string; manifest: string; problem: string }>({
    category: "plugin",
    when: "The `cpr` key of a plugin's `package.json` is missing or malformed.",
    message: ({ plugin, manifest, problem }) => `The manifest of plugin '${plugin}' (${manifest}) ${problem}`,
    hint: () =>
      'A manifest says, e.g., "cpr": { "api": 1, "plugin": "./plugin", "provides": { "transport": ["file"] } }.',
  }),
  ERR_CPR_PLUGIN_API: defineError<{ plugin: string; api: number; supported: number }>({
    category: "plugin",
    when: "A plugin was written for another version of the plugin contract.",
    message: ({ plugin, api, supported }) =>
      `Plugin '${plugin}' speaks version ${api} of the plugin contract, but this is version ${supported}`,
    hint: ({ plugin, api, supported }) =>
      api > supported ? "Update cpr." : `Update the plugin: \`npm install ${plugin}@latest\`.`,
  }),
  ERR_CPR_PLUGIN_CONFLICT: defineError<{ point: string; key: string; plugins: readonly [string, string] }>({
    category: "plugin",
    when: "Two plugins provide the same thing.",
    message: ({ point, key, plugins }) =>
      `Plugins '${plugins[0]}' and '${plugins[1]}' both provide the ${point} '${key}'`,
    hint: () => "Remove one of the two.",
  }),
  ERR_CPR_PLUGIN_LOAD: defineError<{ plugin: string; module: string; reason: string }>({
    category: "plugin",
    when: "A plugin's module cannot be imported, or its default export is not a plugin of the package's name.",
    message: ({ plugin, reason }) => `Plugin '${plugin}' could not be loaded: ${reason}`,
  }),
  ERR_CPR_PLUGIN_SETUP: defineError<{ plugin: string; reason: string }>({
    category: "plugin",
    when: "A plugin's `setup`, or the constructor of something that it contributed, threw an error.",
    message: ({ plugin, reason }) => `Plugin '${plugin}' failed to start: ${reason}`,
  }),
  ERR_CPR_PLUGIN_PROMISE: defineError<{ plugin: string; missing: readonly string[]; unlisted: readonly string[] }>({
    category: "plugin",
    when: "What a plugin contributed is not what its manifest lists under `provides`.",
    message: ({ plugin, missing, unlisted }) =>
      `Plugin '${plugin}' does not keep its promise: ${[
        ...missing.map((each) => `it lists ${each} but does not contribute it`),
        ...unlisted.map((each) => `it contributes ${each} but does not list it`),
      ].join("; ")}`,
  }),
  ERR_CPR_NO_TRANSPORT: defineError<MissingProvider & { uri: string }>({
    category: "input",
    when: "No plugin provides the scheme of a migration URI.",
    message: ({ uri }) => `unknown migration protocol: ${uri}`,
    hint: (details) => known("a transport", details.known),
  }),
  ERR_CPR_NO_MIGRATION_MODE: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides the migration mode.",
    message: ({ name }) => `Parameter 'mode' does not accept value '${name}'`,
    hint: (details) => known("a migration mode", details.known),
  }),
  ERR_CPR_NO_BACKEND: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides the execution backend that `-accel` names.",
    message: ({ name }) => `invalid accelerator ${name}`,
    hint: (details) => known("an execution backend", details.known),
  }),
  ERR_CPR_NO_MACHINE: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides the machine type that `-machine` names.",
    message: ({ name }) => `unsupported machine type: "${name}"`,
    hint: (details) => known("a machine type", details.known),
  }),
  ERR_CPR_NO_DEVICE_MODEL: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides a device model that the machine needs.",
    message: ({ name }) => `'${name}' is not a valid device model name`,
    hint: (details) => known("a device model", details.known),
  }),
  ERR_CPR_NO_MEMORY_PROVIDER: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides the memory provider of that name.",
    message: ({ name }) => `There is no memory provider '${name}'`,
    hint: (details) => known("guest RAM", details.known),
  }),
  ERR_CPR_NO_MIGRATION_BLOCKER: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides the migration blocker of that name.",
    message: ({ name }) => `There is no migration blocker '${name}'`,
    hint: (details) => known("a migration blocker", details.known),
  }),
  ERR_CPR_NO_MONITOR_COMMAND: defineError<MissingProvider>({
    category: "usage",
    when: "No plugin provides the monitor command.",
    message: ({ name }) => `The command ${name} has not been found`,
  }),
  ERR_CPR_NO_HOST_CHECK: defineError<MissingProvider>({
    category: "input",
    when: "No plugin provides the host check of that name.",
    message: ({ name }) => `There is no host check '${name}'`,
    hint: (details) => known("a host check", details.known),
  }),
});
