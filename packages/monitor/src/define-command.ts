import type { Constructor, MonitorCommand } from "@cpr/core";

/** Makes the class of a command that needs nothing from the container. */
export function defineCommand(command: MonitorCommand): Constructor<MonitorCommand> {
  class Command implements MonitorCommand {
    readonly name = command.name;
    readonly summary = command.summary;
    readonly arguments = command.arguments;
    readonly execute = command.execute;
    declare readonly words?: string;
    declare readonly aliases?: readonly string[];
    declare readonly openArguments?: true;
    declare readonly onlyFor?: "people";
    declare readonly print?: (result: unknown) => string;

    constructor() {
      Object.assign(this, command);
    }
  }
  return Command;
}
