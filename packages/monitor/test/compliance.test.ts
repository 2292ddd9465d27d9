import type { Constructor, ExtensionPoint, MonitorCommand } from "@cpr/core";
import { monitorCommandCompliance } from "@cpr/testkit/monitor-command";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import plugin from "../src/plugin.ts";

pluginPackageCompliance(import.meta.url);

const values: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "cpr-load": { filename: "vm.state" },
  "cpr-save": { filename: "vm.state", mode: "reboot" },
  "human-monitor-command": { "command-line": "info status" },
  migrate: { uri: "file:vm.state" },
  "migrate-incoming": { uri: "file:vm.state" },
  "migrate-continue": { state: "pre-switchover" },
  "migrate-set-capabilities": { capabilities: [{ capability: "events", state: true }] },
  "migrate-set-parameters": { mode: "cpr-reboot" },
  "x-query-migrate-plan": { uri: "file:vm.state" },
  "x-migrate-set-capability": { capability: "events", state: true },
  "x-migrate-set-parameter": { parameter: "mode", value: "cpr-reboot" },
};

/** All commands that the plugin contributes. */
const commands: Constructor<MonitorCommand>[] = [];
plugin.setup({
  contribute: <T>(_point: ExtensionPoint<T>, command: Constructor<NoInfer<T>>) => {
    commands.push(command as unknown as Constructor<MonitorCommand>);
  },
});

for (const command of commands) {
  const { name } = new command();
  monitorCommandCompliance({
    name,
    create: () => new command(),
    values: values[name] ?? {},
    runState: name === "cpr-load" ? "inmigrate" : "running",
    others: commands.filter((other) => other !== command).map((other) => new other()),
  });
}
