import { HostCheck, Kernel, programVersion } from "@cpr/core";
import { Command } from "commander";
import { cliErrors } from "./cli-errors.ts";
import { describeReport, examineHost } from "./doctor-report.ts";
import { installedPlugins } from "./installed-plugins.ts";
import { collect } from "./option-values.ts";
import { PluginsHostCheck } from "./plugins-host-check.ts";
import { ProgramHostCheck } from "./program-host-check.ts";
import { ServiceHostCheck } from "./service-host-check.ts";
import { StorageHostCheck } from "./storage-host-check.ts";

interface DoctorOptions {
  readonly json?: true;
  readonly plugin: readonly string[];
}

/** How long a check may take, in milliseconds. They are quick. */
const patience = 10_000;

/** What every use of cpr needs. */
const basic: readonly string[] = ["run", "restart"];

/** Describes `cpr doctor`. */
export function createDoctorCommand(): Command {
  return new Command("doctor")
    .summary("show what this host is ready for")
    .description(
      "Looks at what cpr needs of this host, and says what to do about what is missing. It changes nothing and needs no privileges.",
    )
    .helpOption("-h, --help", "show this help")
    .option("--json", "print JSON")
    .option("--plugin <name>", "also this one: an npm package name or a path; may be repeated", collect, [])
    .addHelpText(
      "after",
      "\nExit status: 0 VMs can be run here and cpr be restarted under them; 4 one of the two is not possible.",
    )
    .action(async ({ json, plugin }: DoctorOptions) => {
      const [kernel, problem] = openKernel(plugin);
      await using _ = kernel;
      const checks = [
        new ProgramHostCheck(programVersion()),
        new PluginsHostCheck(kernel, problem),
        new StorageHostCheck(),
        new ServiceHostCheck(),
        ...(await contributedChecks(kernel)),
      ];
      const report = await examineHost(checks, patience);
      process.stdout.write(`${json === true ? JSON.stringify(report, undefined, 2) : describeReport(report)}\n`);
      const lacking = report.abilities.filter(({ ability, verdict }) => basic.includes(ability) && verdict === "no");
      if (lacking.length > 0) {
        throw cliErrors.ERR_CPR_HOST_NOT_READY({ lacking: lacking.map(({ meaning }) => meaning) });
      }
    });
}

/** The kernel with all plugins; if their manifests are wrong, without any, and what is wrong. */
function openKernel(named: readonly string[]): readonly [kernel: Kernel, problem?: unknown] {
  try {
    return [new Kernel(installedPlugins(named))];
  } catch (problem) {
    return [new Kernel([]), problem];
  }
}

/** The checks of the plugins that can be loaded. */
async function contributedChecks(kernel: Kernel): Promise<readonly HostCheck[]> {
  const outcomes = await Promise.allSettled(kernel.keys(HostCheck).map((key) => kernel.get(HostCheck, key)));
  return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
}
