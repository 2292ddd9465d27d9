import { defineCommand } from "../define-command.ts";
import { monitorErrors } from "../monitor-errors.ts";
import { type VersionInformation, versionInformation } from "../version.ts";

/** `qmp_capabilities`: what a session of QMP begins with. */
export const QmpCapabilitiesCommand = defineCommand({
  name: "qmp_capabilities",
  summary: "end the negotiation of QMP's own capabilities; other commands can be sent then",
  arguments: [
    {
      name: "enable",
      type: { listOf: { anyOf: ["oob"] } },
      optional: true,
      onlyFor: "programs",
      summary: "the capabilities to enable; none is offered",
    },
  ],
  execute: async (_context, { enable = [] }) => {
    for (const name of enable as readonly string[]) {
      throw monitorErrors.ERR_CPR_QMP_CAPABILITY({ name });
    }
  },
});

/** `query-version` / `info version` */
export const QueryVersionCommand = defineCommand({
  name: "query-version",
  words: "info version",
  summary: "show the version of this program",
  arguments: [],
  execute: async () => versionInformation(),
  print: (result) => (result as VersionInformation).package,
});

/** `human-monitor-command`: what a person would have typed, for programs. */
export const HumanMonitorCommand = defineCommand({
  name: "human-monitor-command",
  summary: "carry out a line of the human monitor and give its text",
  arguments: [
    { name: "command-line", type: "string", rest: true, summary: "the line" },
    { name: "cpu-index", type: "integer", optional: true, onlyFor: "programs", summary: "ignored; as in QEMU" },
  ],
  execute: async ({ machine, commands }, values) => {
    const { HumanMonitor } = await import("../human-monitor.ts");
    const { text } = await new HumanMonitor({ machine, commands }).execute(String(values["command-line"]));
    return text === "" ? "" : `${text.replaceAll("\n", "\r\n")}\r\n`;
  },
});
