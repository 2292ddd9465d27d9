/** `node tools/lab/inside.ts NAME ACCELERATORS PROCESSORS`, in the lab host: runs a scenario; lists are separated by commas. */
import { loadScenario } from "./scenarios.ts";

const [name = "", accelerators = "", processors = ""] = process.argv.slice(2);
const listed = (list: string): string[] => list.split(",").filter((item) => item !== "");
const scenario = await loadScenario(name);
await scenario.run({
  report: console.log,
  accelerators: listed(accelerators),
  processors: listed(processors).map(Number),
});
// What a scenario started and did not end is not waited for.
process.exit(0);
