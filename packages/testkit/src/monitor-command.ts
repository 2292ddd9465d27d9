/**
 * The compliance suite of the `MonitorCommand` contract.
 *
 * @example
 * ```ts
 * monitorCommandCompliance({
 *   name: "migrate",
 *   create: () => new MigrateCommand(),
 *   values: { uri: "file:vm.state" },
 * });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { openSync } from "node:fs";
import { CprError, isCprError, type MonitorCommand, type MonitorContext, type RunState } from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { FakeVirtualMachine } from "./fakes/fake-virtual-machine.ts";
import { registerCases } from "./register-cases.ts";

/** A command to be tested, and one way to call it that succeeds. */
export interface MonitorCommandFixture {
  readonly name: string;
  /** Called for each case. */
  create(): MonitorCommand;
  /** Values for its arguments; none by default. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** The runstate in which it is called; `running` by default. */
  readonly runState?: RunState;
  /** Makes the VM what the command needs, e.g. hands it descriptors. */
  prepare?(machine: FakeVirtualMachine): void;
  /** The commands that there are beside it, for one that tells about them. */
  readonly others?: readonly MonitorCommand[];
}

const programName = /^[a-z][a-z0-9_-]*$/;
const personWords = /^[a-z?][a-z0-9_-]*( [a-z][a-z0-9_-]*)*$/;

/** The cases for one command, as data. */
export function monitorCommandCases(fixture: MonitorCommandFixture): readonly ComplianceCase[] {
  const { values = {}, others = [] } = fixture;
  const call = (): { command: MonitorCommand; machine: FakeVirtualMachine; context: MonitorContext } => {
    const command = fixture.create();
    const machine = new FakeVirtualMachine();
    machine.runState = fixture.runState ?? machine.runState;
    fixture.prepare?.(machine);
    return { command, machine, context: { machine, commands: [command, ...others], conversation } };
  };
  const { words, onlyFor } = fixture.create();
  const conversation = {
    audience: onlyFor ?? (words === undefined ? "programs" : "people"),
    takeDescriptor: () => openSync("/dev/null", "r"),
  } as const;
  return new CaseList()
    .add("has its name for programs, and one line about itself", () => {
      const { name, summary } = fixture.create();
      assert.match(name, programName);
      assert.equal(fixture.create().name, name);
      assert.match(summary, /^\S.*\S$/);
    })
    .add("has words that a person can type, and other names only beside them", () => {
      const { aliases = [] } = fixture.create();
      assert.ok(words !== undefined || aliases.length === 0, "a command without words has aliases");
      const spellings = words === undefined ? [] : [words, ...aliases];
      for (const spelling of spellings) {
        assert.match(spelling, personWords);
      }
      assert.equal(new Set(spellings).size, spellings.length, "a spelling is there twice");
    })
    .add("has arguments with different names, each with one line about it", () => {
      const { arguments: parameters } = fixture.create();
      for (const { name, summary } of parameters) {
        assert.match(name, programName);
        assert.match(summary, /^\S.*\S$/);
      }
      assert.equal(new Set(parameters.map(({ name }) => name)).size, parameters.length, "a name is there twice");
    })
    .add("has flags with letters of their own, and other arguments without", () => {
      const { arguments: parameters } = fixture.create();
      const letters = parameters.flatMap(({ letter }) => (letter === undefined ? [] : [letter]));
      for (const { name, type, letter = "" } of parameters) {
        assert.match(letter, type === "flag" ? /^[a-zA-Z]$/ : /^$/, name);
      }
      assert.equal(new Set(letters).size, letters.length, "a letter is there twice");
    })
    .add("has arguments that a line can be taken apart into", () => {
      const positional = fixture
        .create()
        .arguments.filter(({ type, onlyFor }) => type !== "flag" && onlyFor !== "programs");
      for (const [index, { name, optional, rest }] of positional.entries()) {
        const before = positional[index - 1];
        assert.ok(
          before?.optional !== true || optional === true,
          `${name} is required, ${before?.name} in front is not`,
        );
        assert.ok(rest !== true || index === positional.length - 1, `${name} takes the rest, but is not the last`);
      }
    })
    .add("has arguments of types that people can type, unless programs alone give them", () => {
      for (const { name, type, onlyFor } of fixture.create().arguments) {
        assert.ok(onlyFor === "programs" || typeof type === "string", `${name} cannot be typed`);
      }
    })
    .add("completes its arguments with words, and does nothing by it", () => {
      const { command, machine, context } = call();
      for (const { complete } of command.arguments) {
        for (const word of complete?.(context) ?? []) {
          assert.match(word, /^\S+$/);
        }
      }
      assert.deepEqual(machine.calls, []);
    })
    .add("gives data that a program can be sent, or none", async () => {
      const { command, context } = call();
      const result = await command.execute(context, values);
      assert.deepEqual(overTheWire(result), result);
    })
    .add("prints the data and nothing else, without a line feed at the end", async () => {
      const { command, context } = call();
      const result = await command.execute(context, values);
      if (command.print !== undefined) {
        const text = command.print(result);
        assert.doesNotMatch(text, /undefined|\[object|\n$/);
        // The one who prints may be another process, and a later one.
        assert.equal(fixture.create().print?.(overTheWire(result)), text);
      }
    })
    .add("changes nothing in the values that it is given", async () => {
      const { command, context } = call();
      const given = structuredClone(values);
      await command.execute(context, Object.freeze(given));
      assert.deepEqual(given, values);
    })
    .add("hands on why the VM refused", async () => {
      const { command, machine, context } = call();
      const refusal = new CprError("ERR_CPR_TEST_REFUSED", "refused", "The VM refuses");
      machine.failure = refusal;
      try {
        await command.execute(context, values);
        assert.deepEqual(machine.calls, [], "the VM refused, and the command did not say so");
      } catch (error) {
        assert.ok(isCprError(error), `it failed with ${String(error)}`);
        assert.equal(error.code, refusal.code);
      }
    }).cases;
}

/** Registers the suite of the `MonitorCommand` contract. */
export function monitorCommandCompliance(fixture: MonitorCommandFixture): void {
  registerCases(`monitor command ${fixture.name}`, monitorCommandCases(fixture));
}

/** What arrives of a value that is sent as JSON. */
function overTheWire(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
