import type { MonitorArgument, MonitorCommand, MonitorContext } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { monitorCommandCases, monitorCommandCompliance } from "../src/monitor-command.ts";
import { failingCases } from "./failing-cases.ts";

/** Sets a parameter and tells what it was. */
class ExchangeCommand implements MonitorCommand {
  readonly name: string = "x-exchange";
  readonly words: string = "exchange";
  readonly aliases: readonly string[] = ["x"];
  readonly summary: string = "set a parameter and show what it was";
  readonly arguments: readonly MonitorArgument[] = [
    { name: "force", type: "flag", letter: "f", optional: true, summary: "do not ask" },
    {
      name: "parameter",
      type: "string",
      summary: "its name",
      complete: ({ machine }: MonitorContext) => [...machine.settings.parameters().keys()],
    },
    { name: "value", type: "string", rest: true, optional: true, summary: "its value" },
  ];

  async execute({ machine }: MonitorContext, values: Readonly<Record<string, unknown>>): Promise<unknown> {
    const parameter = String(values["parameter"]);
    const before = machine.settings.parameters().get(parameter);
    machine.settings.setParameter(parameter, String(values["value"]));
    return { parameter, before };
  }

  print(result: unknown): string {
    const { parameter, before } = result as { parameter: string; before: unknown };
    return `${parameter}: ${String(before)}`;
  }
}

const values = { parameter: "mode", value: "cpr-reboot" };

monitorCommandCompliance({ name: "exchange", create: () => new ExchangeCommand(), values });

const named = (name: string, more: Partial<MonitorArgument> = {}): MonitorArgument => ({
  name,
  type: "string",
  summary: "something",
  ...more,
});

const broken: Record<string, { readonly command: new () => MonitorCommand; readonly noticedBy: string[] }> = {
  "says nothing about itself": {
    command: class extends ExchangeCommand {
      override readonly summary = "";
    },
    noticedBy: ["has its name for programs, and one line about itself"],
  },
  "has a name that no program would use": {
    command: class extends ExchangeCommand {
      override readonly name = "Exchange it";
    },
    noticedBy: ["has its name for programs, and one line about itself"],
  },
  "has the same words twice": {
    command: class extends ExchangeCommand {
      override readonly aliases = ["exchange"];
    },
    noticedBy: ["has words that a person can type, and other names only beside them"],
  },
  "has two arguments of one name": {
    command: class extends ExchangeCommand {
      override readonly arguments = [named("parameter"), named("parameter")];
    },
    noticedBy: ["has arguments with different names, each with one line about it"],
  },
  "has a flag without a letter": {
    command: class extends ExchangeCommand {
      override readonly arguments = [named("force", { type: "flag" })];
    },
    noticedBy: ["has flags with letters of their own, and other arguments without"],
  },
  "requires an argument behind one that may be left out": {
    command: class extends ExchangeCommand {
      override readonly arguments = [named("parameter", { optional: true }), named("value")];
    },
    noticedBy: ["has arguments that a line can be taken apart into"],
  },
  "takes the rest of the line, and more": {
    command: class extends ExchangeCommand {
      override readonly arguments = [named("parameter", { rest: true }), named("value")];
    },
    noticedBy: ["has arguments that a line can be taken apart into"],
  },
  "acts while it completes": {
    command: class extends ExchangeCommand {
      override readonly arguments = [
        named("parameter", {
          complete: ({ machine }: MonitorContext) => {
            void machine.stop();
            return [];
          },
        }),
      ];
    },
    noticedBy: ["completes its arguments with words, and does nothing by it"],
  },
  "gives a map, which no program can be sent": {
    command: class extends ExchangeCommand {
      override async execute({ machine }: MonitorContext) {
        return new Map(machine.settings.parameters());
      }

      override print() {
        return "done";
      }
    },
    noticedBy: ["gives data that a program can be sent, or none"],
  },
  "prints what it remembers": {
    command: class extends ExchangeCommand {
      #before: unknown = "";

      override async execute(context: MonitorContext, given: Readonly<Record<string, unknown>>) {
        this.#before = await super.execute(context, given);
        return this.#before;
      }

      override print() {
        return JSON.stringify(this.#before);
      }
    },
    noticedBy: ["prints the data and nothing else, without a line feed at the end"],
  },
  "ends its text with a line feed": {
    command: class extends ExchangeCommand {
      override print(result: unknown) {
        return `${super.print(result)}\n`;
      }
    },
    noticedBy: ["prints the data and nothing else, without a line feed at the end"],
  },
  "keeps a refusal to itself": {
    command: class extends ExchangeCommand {
      override async execute(context: MonitorContext, given: Readonly<Record<string, unknown>>) {
        return super.execute(context, given).catch(() => ({ parameter: "mode", before: "" }));
      }
    },
    noticedBy: ["hands on why the VM refused"],
  },
  "makes another error of a refusal": {
    command: class extends ExchangeCommand {
      override async execute(context: MonitorContext, given: Readonly<Record<string, unknown>>) {
        return super.execute(context, given).catch((error: unknown) => {
          throw new Error(`failed: ${String(error)}`);
        });
      }
    },
    noticedBy: ["hands on why the VM refused"],
  },
  "writes into the values": {
    command: class extends ExchangeCommand {
      override async execute(context: MonitorContext, given: Readonly<Record<string, unknown>>) {
        const result = await super.execute(context, given);
        if (Object.isFrozen(given)) {
          (given as Record<string, unknown>)["value"] = "taken";
        }
        return result;
      }
    },
    noticedBy: ["changes nothing in the values that it is given"],
  },
};

describe("the suite of monitor commands notices a command that", () => {
  test.each(Object.entries(broken))("%s", async (_, { command, noticedBy }) => {
    const cases = monitorCommandCases({ name: "broken", create: () => new command(), values });
    expect(await failingCases(cases)).toEqual(noticedBy);
  });
});
