import { definePlugin, MonitorCommand } from "@cpr/core";
import { HelpCommand, InfoCommand, QueryCommandsCommand } from "./commands/help.ts";
import {
  QueryExecutionCommand,
  QueryMemoryCommand,
  QueryNameCommand,
  QueryStatusCommand,
  QueryUuidCommand,
} from "./commands/information.ts";
import {
  ContCommand,
  QuitCommand,
  StopCommand,
  SystemPowerDownCommand,
  SystemResetCommand,
  SystemWakeUpCommand,
} from "./commands/life-cycle.ts";
import {
  MigrateCancelCommand,
  MigrateCommand,
  MigrateIncomingCommand,
  MigrateSetCapabilityCommand,
  MigrateSetParameterCommand,
  QueryMigrateCapabilitiesCommand,
  QueryMigrateCommand,
  QueryMigrateParametersCommand,
} from "./commands/migration.ts";

import { HumanMonitorCommand, QmpCapabilitiesCommand, QueryVersionCommand } from "./commands/protocol.ts";

export default definePlugin({
  name: "@cpr/monitor",
  setup(context) {
    for (const command of [
      ContCommand,
      HelpCommand,
      HumanMonitorCommand,
      InfoCommand,
      MigrateCancelCommand,
      MigrateCommand,
      MigrateIncomingCommand,
      MigrateSetCapabilityCommand,
      MigrateSetParameterCommand,
      QmpCapabilitiesCommand,
      QueryCommandsCommand,
      QueryExecutionCommand,
      QueryMemoryCommand,
      QueryMigrateCapabilitiesCommand,
      QueryMigrateCommand,
      QueryMigrateParametersCommand,
      QueryNameCommand,
      QueryStatusCommand,
      QueryUuidCommand,
      QueryVersionCommand,
      QuitCommand,
      StopCommand,
      SystemPowerDownCommand,
      SystemResetCommand,
      SystemWakeUpCommand,
    ]) {
      context.contribute(MonitorCommand, command);
    }
  },
});
