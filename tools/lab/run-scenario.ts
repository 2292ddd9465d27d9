import { type LabEnd, lastLines, runLab } from "./lab-host.ts";
import { type Scenario, secondsSince } from "./scenario.ts";
import { loadScenario } from "./scenarios.ts";

/** A scenario, and what it is to try. */
export interface ScenarioChoice {
  readonly name: string;
  /** Instead of the scenario's own. */
  readonly accelerators?: readonly string[] | undefined;
  /** Instead of the scenario's own. */
  readonly processors?: readonly number[] | undefined;
}

/** How to run scenarios. */
export interface ScenarioOptions {
  /** Runs them on the lab host's console, here, with a shell once they have ended. */
  readonly keep?: boolean;
  /** Shows the lab host's console, too. */
  readonly verbose?: boolean;
  readonly output: (line: string) => void;
}

/** How often scenarios are repeated because their lab host hangs. */
const mostRepetitions = 2;

/** The command that runs a stage of a scenario in the lab host. */
function command(stage: keyof Scenario, scenario: Scenario, choice: ScenarioChoice): string {
  const { accelerators = scenario.accelerators ?? [], processors = scenario.processors ?? [] } = choice;
  return `node tools/lab/inside.ts ${choice.name} ${stage} '${accelerators.join(",")}' '${processors.join(",")}'`;
}

/**
 * Runs scenarios in one lab host, in this order, until one fails. Those that need something of the host are not the same thing's, and
 * only the last one may go over to the second kernel.
 *
 * @returns whether all have passed; `output` was told why not
 */
export async function runScenarios(choices: readonly ScenarioChoice[], options: ScenarioOptions): Promise<boolean> {
  const { keep = false, verbose = false, output } = options;
  const scenarios = await Promise.all(
    choices.map(async (choice) => ({ choice, scenario: await loadScenario(choice.name) })),
  );
  for (const { choice, scenario } of scenarios) output(`lab: ${choice.name}: ${scenario.description}`);
  const name = choices.map((choice) => choice.name).join("+");
  const started = performance.now();
  const commands = (stage: keyof Scenario): string[] =>
    scenarios.map(({ choice, scenario }) => command(stage, scenario, choice));
  const run = (): Promise<LabEnd> =>
    runLab({
      name,
      host: Object.assign({}, ...scenarios.map(({ scenario }) => scenario.host)),
      script: `${commands("run").join(" && ")}\n`,
      afterKexec: `${commands("afterKexec").at(-1)}\n`,
      programs: scenarios.flatMap(({ scenario }) => scenario.programs ?? []),
      interactive: keep,
      seconds: scenarios.reduce((sum, { scenario }) => sum + scenario.seconds, 0),
      output,
      ...(verbose ? { console: (line: string) => output(`    ${line}`) } : {}),
    });
  let end = await run();
  for (let again = 0; end.hung && again < mostRepetitions; again++) {
    output(`lab: ${name}: ${end.reason} That is QEMU's doing and says nothing about the scenario: once more.`);
    end = await run();
  }
  if (keep) return true;
  if (end.status === 0) {
    output(`lab: ${name}: passed in ${secondsSince(started)}`);
    return true;
  }
  for (const line of failure(end)) output(line);
  output(`lab: ${name}: failed after ${secondsSince(started)}; its logs: ${end.channelLog} ${end.consoleLog}`);
  return false;
}

function failure({ status, reason, consoleLog }: LabEnd): string[] {
  if (status !== undefined) return [`lab: it ended with status ${status}`];
  return [`lab: ${reason}`, "lab: the end of the console:", ...lastLines(consoleLog, 20).map((line) => `    ${line}`)];
}
