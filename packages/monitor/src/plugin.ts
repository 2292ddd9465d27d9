import { definePlugin, MonitorCommand } from "@cpr/core";
import { BalloonCommand, QueryBalloonCommand } from "./commands/balloon.ts";
import { CprLoadCommand, CprSaveCommand } from "./commands/checkpoint.ts";
import {
  AddDescriptorCommand,
  CloseDescriptorCommand,
  GetDescriptorCommand,
  QueryDescriptorSetsCommand,
  RemoveDescriptorCommand,
} from "./commands/descriptors.ts";
import { HelpCommand, InfoCommand, QueryCommandsCommand } from "./commands/help.ts";
import {
  QueryBlockCommand,
  QueryCharacterDevicesCommand,
  QueryExecutionCommand,
  QueryMemoryCommand,
  QueryNameCommand,
  QueryProcessorsCommand,
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
  MigrateContinueCommand,
  MigrateIncomingCommand,
} from "./commands/migration.ts";
import {
  MigrateSetCapabilitiesCommand,
  MigrateSetCapabilityCommand,
  MigrateSetParameterCommand,
  MigrateSetParametersCommand,
  QueryMigrateCapabilitiesCommand,
  QueryMigrateParametersCommand,
} from "./commands/migration-settings.ts";
import { SetLinkCommand } from "./commands/network.ts";
import { HumanMonitorCommand, QmpCapabilitiesCommand, QueryVersionCommand } from "./commands/protocol.ts";
import { QueryMigrateCommand, QueryMigratePlanCommand } from "./commands/query-migrate.ts";

export default definePlugin({
  name: "@cpr/monitor",
  setup(context) {
    for (const command of [
      AddDescriptorCommand,
      BalloonCommand,
      CloseDescriptorCommand,
      ContCommand,
      CprLoadCommand,
      CprSaveCommand,
      GetDescriptorCommand,
      HelpCommand,
      HumanMonitorCommand,
      InfoCommand,
      MigrateCancelCommand,
      MigrateCommand,
      MigrateContinueCommand,
      MigrateIncomingCommand,
      MigrateSetCapabilitiesCommand,
      MigrateSetCapabilityCommand,
      MigrateSetParameterCommand,
      MigrateSetParametersCommand,
      QmpCapabilitiesCommand,
      QueryBalloonCommand,
      QueryCharacterDevicesCommand,
      QueryCommandsCommand,
      QueryBlockCommand,
      QueryDescriptorSetsCommand,
      QueryExecutionCommand,
      QueryMemoryCommand,
      QueryMigrateCapabilitiesCommand,
      QueryMigrateCommand,
      QueryMigrateParametersCommand,
      QueryMigratePlanCommand,
      QueryNameCommand,
      QueryProcessorsCommand,
      QueryStatusCommand,
      QueryUuidCommand,
      QueryVersionCommand,
      QuitCommand,
      RemoveDescriptorCommand,
      SetLinkCommand,
      StopCommand,
      SystemPowerDownCommand,
      SystemResetCommand,
      SystemWakeUpCommand,
    ]) {
      context.contribute(MonitorCommand, command);
    }
  },
});
