/**
 * `npm run lab -- SCENARIO… | list | shell`: boots a lab host, a PC emulated by QEMU whose `/dev/kvm` runs guests at full speed,
 * and runs scenarios in it. docs/lab.md tells more.
 */
import { parseArgs } from "node:util";
import { runLab } from "./lab-host.ts";
import { runScenarios } from "./run-scenario.ts";
import { loadScenario, scenarioNames } from "./scenarios.ts";

const usage = `Usage: npm run lab -- SCENARIO... [--accel NAME,...] [--smp N,...] [--keep] [--verbose]
       npm run lab -- list
       npm run lab -- shell [--systemd]

  --accel NAME,...  the backends that a scenario tries, instead of its own
  --smp N,...       the numbers of vCPUs that its guests have
  --keep            runs the scenario on the lab host's console, and leaves a shell there
  --verbose         shows the lab host's console
  --systemd         leaves you on a lab host whose init is systemd`;

function commandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        accel: { type: "string" },
        smp: { type: "string" },
        keep: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        systemd: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}

const { values, positionals } = commandLine();
const unknown = positionals.filter((name) => !["list", "shell", ...scenarioNames].includes(name));
if (
  positionals.length === 0 ||
  unknown.length > 0 ||
  !/^\d+(,\d+)*$/.test(values.smp ?? "1") ||
  !/^[\w,-]+$/.test(values.accel ?? "kvm")
) {
  console.error(unknown.length > 0 ? `There is no scenario '${unknown[0]}'.\n${usage}` : usage);
  process.exit(2);
}
for (const name of positionals) {
  if (name === "list") {
    for (const each of scenarioNames) console.log(`${each.padEnd(12)} ${(await loadScenario(each)).description}`);
  } else if (name === "shell") {
    await runLab({
      name,
      host: { nvdimms: ["4608M"], disk: "1G", secondKernel: true, systemd: values.systemd },
      script: "node tools/lab/persistent-memory.ts devdax\n",
      programs: ["kvm-probe"],
      interactive: true,
      seconds: 0,
      output: console.log,
    });
  } else {
    const choice = { name, accelerators: values.accel?.split(","), processors: values.smp?.split(",").map(Number) };
    const { keep, verbose } = values;
    const passed = await runScenarios([choice], { keep, verbose, output: console.log });
    if (!passed) process.exitCode = 1;
  }
}
