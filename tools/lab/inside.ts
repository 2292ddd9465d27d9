/**
 * `node tools/lab/inside.ts NAME STAGE ACCELERATORS PROCESSORS`, in the lab host: runs a stage of a scenario, `run` or
 * `afterKexec`; lists are separated by commas.
 */
import { loadScenario } from "./scenarios.ts";

const [name = "", stage = "", accelerators = "", processors = ""] = process.argv.slice(2);
const listed = (list: string): string[] => list.split(",").filter((item) => item !== "");
const scenario = await loadScenario(name);
const lab = {
  report: console.log,
  accelerators: listed(accelerators),
  processors: listed(processors).map(Number),
};
if (stage === "afterKexec") {
  await scenario.afterKexec?.(lab);
} else {
  await scenario.run(lab);
  if (scenario.afterKexec !== undefined) throw new Error("The scenario has not gone over to the second kernel.");
}
// What a scenario started and did not end is not waited for.
process.exit(0);
