import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CheckpointPurpose, formatBytes, Kernel, systemReason } from "@cpr/core";
import {
  checkVmName,
  Host,
  type HostReport,
  hostErrors,
  summaryOf,
  systemdUnit,
  unitName,
  type VmListing,
  type VmReport,
  type WorkOptions,
} from "@cpr/host";
import { Command, Option } from "commander";
import { cliErrors } from "./cli-errors.ts";
import { planRun } from "./configuration.ts";
import { installedPlugins } from "./installed-plugins.ts";
import { acceptSingleDash } from "./qemu-spelling.ts";
import { createRunCommand, type RunOptions } from "./run-options.ts";

interface AddOptions {
  readonly order: string;
  readonly timeout: string;
  readonly autostart: boolean;
}

interface WorkWords {
  readonly wait?: true;
  readonly json?: true;
}

/** The words of this command, for processes that outlive this one. */
const program = [process.execPath, fileURLToPath(new URL("../bin/cpr.js", import.meta.url))];

/** Describes `cpr host` and its commands. */
export function createHostCommand(): Command {
  return new Command("host")
    .summary("the VMs of this host, through its reboots")
    .description(
      "Registers VMs, saves all of them before the host goes down, and loads them when it is up. The unit of systemd that " +
        "install-unit makes does that by itself.",
    )
    .helpOption("-h, --help", "show this help")
    .addHelpText(
      "after",
      `
Example:
  cpr host add web --order 10 -- -m 4G -kernel vmlinuz -append console=ttyS0 \\
      -object memory-backend-file,id=ram0,size=4G,mem-path=/dev/dax0.0,align=2M,share=on
  cpr host install-unit && systemctl enable --now cpr-host
  cpr host list
  systemctl kexec
  cpr host report

Exit status: 0 done; 5 another of these commands is at work; 9 some VM failed, and the others were done; others as the page
about errors tells.`,
    )
    .addCommand(createAddCommand())
    .addCommand(
      named("remove", "forget a VM, which has no process and no checkpoint").action((name: string) => {
        new Host().remove(name);
      }),
    )
    .addCommand(createListCommand())
    .addCommand(
      onMany("start", "start VMs afresh").action((names: string[], words: WorkWords) =>
        work(words, (host, options) => host.start({ ...options, names, program })),
      ),
    )
    .addCommand(createSaveCommand())
    .addCommand(createLoadCommand())
    .addCommand(
      named("discard", "remove the checkpoint of a VM, which has no process; what its guest had in RAM is lost").action(
        (name: string) => {
          new Host().discard(name);
        },
      ),
    )
    .addCommand(createReportCommand())
    .addCommand(createInstallCommand());
}

const subcommand = (name: string, summary: string): Command =>
  new Command(name).summary(summary).description(`${summary}.`).helpOption("-h, --help", "show this help");

const named = (name: string, summary: string): Command => subcommand(name, summary).argument("<name>", "the VM's name");

const onMany = (name: string, summary: string): Command =>
  subcommand(name, summary)
    .argument("[names...]", "these VMs; all, if none is named")
    .option("--wait", "wait for another command that is at work, instead of giving up at once")
    .option("--json", "print the report as JSON");

function createAddCommand(): Command {
  return named("add", "register a VM")
    .argument("<options...>", "after --, the options of cpr run; relative paths in them begin in this folder")
    .option("--order <number>", "VMs of a lower order are loaded first and saved last", "0")
    .option("--timeout <seconds>", "how long the VM may take to start, to be saved and to be loaded, each", "300")
    .option("--no-autostart", "do not start it afresh when the host is up and there is no checkpoint")
    .action((name: string, options: readonly string[], { order, timeout, autostart }: AddOptions) => {
      checkVmName(name);
      checkRunOptions(options);
      new Host().add(name, {
        options,
        workingDirectory: process.cwd(),
        order: numberOf("-order", order, /^-?\d{1,9}$/, "a number"),
        timeout: numberOf("-timeout", timeout, /^[1-9]\d{0,5}$/, "a number of seconds"),
        autostart,
      });
    });
}

function numberOf(option: string, value: string, pattern: RegExp, expected: string): number {
  if (!pattern.test(value)) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option, value, expected });
  }
  return Number(value);
}

/** @throws {CprError} what `cpr run` would say to the options, and ERR_CPR_HOST_OPTION */
function checkRunOptions(words: readonly string[]): void {
  const command = createRunCommand().exitOverride();
  const options = command.parse(acceptSingleDash(command, words), { from: "user" }).opts<RunOptions>();
  const { streams, sockets, characterDevices } = planRun(options);
  const refused: readonly (readonly [boolean, string, string])[] = [
    [options.incoming !== undefined, "-incoming", "whether it waits for a checkpoint is decided when it is started"],
    [options.stopped === true, "-S", "nobody would let it run when the host is up"],
    [options.addFd.length > 0, "-add-fd", "its process is started without further descriptors"],
    [streams.monitor === "line", "-monitor stdio", "its process has no terminal; use unix:PATH,server=on,wait=off"],
    [streams.qmp, "-qmp stdio", "its process has no terminal; a QMP socket is made for it anyway"],
    [
      [...sockets, ...characterDevices.values()].some((each) => "wait" in each && each.wait),
      "a socket with wait=on",
      "it would wait for a client when the host is up",
    ],
  ];
  for (const [isGiven, option, reason] of refused) {
    if (isGiven) {
      throw hostErrors.ERR_CPR_HOST_OPTION({ option, reason });
    }
  }
}

function createSaveCommand(): Command {
  return onMany("save", "save VMs and end their processes, those of a higher order first")
    .addOption(
      new Option("--for <purpose>", "what may happen before they are loaded: RAM that would not survive it is copied")
        .choices(["reboot", "restart"])
        .default("reboot"),
    )
    .action((names: string[], words: WorkWords & { readonly for: CheckpointPurpose }) =>
      work(words, (host, options) => host.save({ ...options, names, purpose: words.for })),
    );
}

function createLoadCommand(): Command {
  return onMany("load", "load VMs that have a checkpoint, those of a lower order first")
    .option("--autostart", "start those afresh that have none and were not registered with --no-autostart")
    .option("--again", "load also what a process had already, although the guest may have gone on from it since")
    .action(async (names: string[], words: WorkWords & { readonly autostart?: true; readonly again?: true }) => {
      const { autostart = false, again = false } = words;
      await using kernel = new Kernel(installedPlugins([]));
      await work(words, (host, common) => host.load({ ...common, names, program, kernel, autostart, again }));
    });
}

/** Does something with VMs, tells of each, and fails at the end if any has failed. */
async function work(
  { wait, json }: WorkWords,
  action: (host: Host, options: Omit<WorkOptions, "names">) => Promise<HostReport>,
): Promise<void> {
  const interrupt = new AbortController();
  const abort = (): void => interrupt.abort();
  process.on("SIGINT", abort).on("SIGTERM", abort);
  const tell = (vm: VmReport): void => {
    if (json !== true) process.stdout.write(`${lineOf(vm)}\n`);
  };
  const report = await action(new Host(), { wait: wait === true, signal: interrupt.signal, tell });
  process.off("SIGINT", abort).off("SIGTERM", abort);
  process.stdout.write(`${json === true ? JSON.stringify(report, undefined, 2) : summaryOf(report)}\n`);
  const failed = report.vms.filter(({ outcome }) => outcome === "failed").map(({ name }) => name);
  if (failed.length > 0) {
    throw hostErrors.ERR_CPR_HOST_FAILED({ failed, total: report.vms.length });
  }
}

function lineOf({ name, outcome, status, milliseconds, downtime, ram, note, error }: VmReport): string {
  const parts = [
    `${outcome}${outcome === "skipped" ? "" : ` in ${Math.round(milliseconds)} ms`}`,
    ...(downtime === undefined ? [] : [`the guest stood still ${downtime} ms of it`]),
    ...(ram === undefined
      ? []
      : [`${formatBytes(ram.copied)} of RAM copied, ${formatBytes(ram.inPlace)} left in place`]),
    ...(status === undefined || outcome === "saved" ? [] : [`it is ${status}`]),
  ];
  const more = [note, error?.message, error?.hint].flatMap((line) => (line === undefined ? [] : [`  ${line}`]));
  return [`${name}: ${parts.join("; ")}`, ...more].join("\n");
}

function createListCommand(): Command {
  return subcommand("list", "show the registered VMs")
    .option("--json", "print JSON")
    .action(async ({ json }: WorkWords) => {
      const listings = await new Host().list();
      process.stdout.write(json === true ? `${JSON.stringify(listings, undefined, 2)}\n` : tableOf(listings));
    });
}

function tableOf(listings: readonly VmListing[]): string {
  const rows = [
    ["NAME", "ORDER", "STATE", "RAM", "CHECKPOINT", "QMP SOCKET"],
    ...listings.map((vm) => [
      vm.name,
      String(vm.definition?.order ?? "-"),
      vm.state,
      ramOf(vm),
      vm.checkpoint === undefined ? "-" : `${formatBytes(vm.checkpoint.bytes)}, ${vm.checkpoint.made}`,
      vm.socket ?? "-",
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const problems = listings.flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
  return `${[...lines, ...problems].join("\n")}\n`;
}

/** Where the RAM of a saved VM is. */
function ramOf({ checkpoint }: VmListing): string {
  if (checkpoint?.ram === undefined) {
    return "-";
  }
  const { copied, inPlace } = checkpoint.ram;
  return inPlace === 0 ? "copied" : copied === 0 ? "in place" : "in place and copied";
}

function createReportCommand(): Command {
  return subcommand("report", "show what came of the last save and load")
    .option("--json", "print JSON")
    .action(({ json }: WorkWords) => {
      const reports = new Host().reports();
      const texts = reports.map((report) => [summaryOf(report), ...report.vms.map(lineOf)].join("\n"));
      process.stdout.write(`${json === true ? JSON.stringify(reports, undefined, 2) : texts.join("\n\n")}\n`);
    });
}

function createInstallCommand(): Command {
  return subcommand("install-unit", "install the unit of systemd that saves and loads the VMs")
    .option("--directory <path>", "where to", "/etc/systemd/system")
    .option("--print", "print it instead")
    .action(({ directory, print }: { readonly directory: string; readonly print?: true }) => {
      const text = systemdUnit(program);
      if (print === true) {
        process.stdout.write(text);
        return;
      }
      const path = join(directory, unitName);
      try {
        writeFileSync(path, text);
      } catch (cause) {
        throw cliErrors.ERR_CPR_OUTPUT_FILE({ path, reason: systemReason(cause) }, { cause });
      }
      process.stdout.write(`${path} is there. It works from when you give: systemctl enable --now ${unitName}\n`);
    });
}
