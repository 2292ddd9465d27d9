import { type LabEnd, lastLines, runLab } from "./lab-host.ts";
import { type Scenario, secondsSince } from "./scenario.ts";
import { loadScenario } from "./scenarios.ts";

/** How to run a scenario. */
export interface ScenarioOptions {
  /** Instead of the scenario's own. */
  readonly accelerators?: readonly string[] | undefined;
  /** Instead of the scenario's own. */
  readonly processors?: readonly number[] | undefined;
  /** Runs it on the lab host's console, here, with a shell once it has ended. */
  readonly keep?: boolean;
  /** Shows the lab host's console, too. */
  readonly verbose?: boolean;
  readonly output: (line: string) => void;
}

/** How often a scenario is repeated because its lab host hangs. */
const mostRepetitions = 2;

/** Runs a scenario in a lab host. @returns whether it has passed; `output` was told why not. */
export async function runScenario(name: string, options: ScenarioOptions): Promise<boolean> {
  const scenario = await loadScenario(name);
  const { description, seconds, programs = [], host = {} } = scenario;
  const { keep = false, verbose = false, output } = options;
  const { accelerators = scenario.accelerators ?? [], processors = scenario.processors ?? [] } = options;
  output(`lab: ${name}: ${description}`);
  const started = performance.now();
  const script = (stage: keyof Scenario): string =>
    `exec node tools/lab/inside.ts ${name} ${stage} '${accelerators.join(",")}' '${processors.join(",")}'\n`;
  const run = (): Promise<LabEnd> =>
    runLab({
      name,
      host,
      script: script("run"),
      afterKexec: script("afterKexec"),
      programs,
      interactive: keep,
      seconds,
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
