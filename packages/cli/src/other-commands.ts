import type { Command } from "commander";
import { createDoctorCommand } from "./doctor-command.ts";
import { createHostCommand } from "./host-command.ts";
import { createInspectCommand } from "./inspect-command.ts";
import { createLoadCommand } from "./load-command.ts";
import { createMonitorCommand } from "./monitor-command.ts";
import { createPluginsCommand } from "./plugins-command.ts";
import { createSaveCommand } from "./save-command.ts";
import { createStatusCommand } from "./status-command.ts";

/** All commands but `cpr run`, which starts faster without them. */
export function createOtherCommands(): readonly Command[] {
  return [
    createSaveCommand(),
    createLoadCommand(),
    createStatusCommand(),
    createMonitorCommand(),
    createInspectCommand(),
    createPluginsCommand(),
    createHostCommand(),
    createDoctorCommand(),
  ];
}
