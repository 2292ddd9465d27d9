import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Scenario } from "./scenario.ts";

const folder = join(import.meta.dirname, "scenarios");

/** The names of all scenarios: each is a file in `tools/lab/scenarios`. */
export const scenarioNames: readonly string[] = readdirSync(folder)
  .map((file) => basename(file, ".ts"))
  .sort();

/** The scenario of that name. @throws {RangeError} if there is none. */
export async function loadScenario(name: string): Promise<Scenario> {
  if (!scenarioNames.includes(name)) throw new RangeError(`There is no scenario '${name}'.`);
  const module = (await import(pathToFileURL(join(folder, `${name}.ts`)).href)) as { readonly scenario: Scenario };
  return module.scenario;
}
