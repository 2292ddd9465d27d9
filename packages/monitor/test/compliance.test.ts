import { openSync } from "node:fs";
import type { Constructor, ExtensionPoint, MonitorCommand } from "@cpr/core";
import type { FakeVirtualMachine } from "@cpr/testkit/fakes";
import { monitorCommandCompliance } from "@cpr/testkit/monitor-command";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import plugin from "../src/plugin.ts";

pluginPackageCompliance(import.meta.url);

/** Descriptors for the commands that need some to be there. */
function prepare({ descriptors }: FakeVirtualMachine): void {
  descriptors.add(openSync("/dev/null", "w"), 1, "for this");
  descriptors.name("state", openSync("/dev/null", "w"));
}

const values: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "add-fd": { "fdset-id": 3 },
  closefd: { fdname: "state" },
  "cpr-load": { filename: "vm.state" },
  "cpr-save": { filename: "vm.state", mode: "reboot" },
  getfd: { fdname: "other" },
  "human-monitor-command": { "command-line": "info status" },
  migrate: { uri: "file:vm.state" },
  "migrate-incoming": { uri: "file:vm.state" },
  "migrate-continue": { state: "pre-switchover" },
  "migrate-set-capabilities": { capabilities: [{ capability: "events", state: true }] },
  "migrate-set-parameters": { mode: "cpr-reboot" },
  "remove-fd": { "fdset-id": 1 },
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
    prepare,
    runState: name === "cpr-load" ? "inmigrate" : "running",
    others: commands.filter((other) => other !== command).map((other) => new other()),
  });
}
