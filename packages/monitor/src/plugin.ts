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

export default definePlugin({
  name: "@cpr/monitor",
  setup(context) {
    for (const command of [
      ContCommand,
      HelpCommand,
      InfoCommand,
      MigrateCancelCommand,
      MigrateCommand,
      MigrateIncomingCommand,
      MigrateSetCapabilityCommand,
      MigrateSetParameterCommand,
      QueryCommandsCommand,
      QueryExecutionCommand,
      QueryMemoryCommand,
      QueryMigrateCapabilitiesCommand,
      QueryMigrateCommand,
      QueryMigrateParametersCommand,
      QueryNameCommand,
      QueryStatusCommand,
      QueryUuidCommand,
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
