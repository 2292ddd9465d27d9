/** `node tools/lab/inside.ts NAME ACCELERATORS PROCESSORS`, in the lab host: runs a scenario; lists are separated by commas. */
import { loadScenario } from "./scenarios.ts";

const [name = "", accelerators = "", processors = ""] = process.argv.slice(2);
const scenario = await loadScenario(name);
await scenario.run({
  report: console.log,
  accelerators: accelerators.split(","),
  processors: processors.split(",").map(Number),
});
// What a scenario started and did not end is not waited for.
process.exit(0);
