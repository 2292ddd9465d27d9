import {
  type CheckpointInspection,
  type DescribedValue,
  formatBytes,
  type InspectedSection,
  inspectCheckpoint,
  Kernel,
} from "@cpr/core";
import { Command } from "commander";
import { absoluteUri } from "./absolute-uri.ts";
import { cliErrors } from "./cli-errors.ts";
import { installedPlugins } from "./installed-plugins.ts";
import { collect } from "./option-values.ts";

interface InspectOptions {
  readonly json?: true;
  readonly section?: string;
  readonly plugin: readonly string[];
}

/** Describes `cpr inspect`. */
export function createInspectCommand(): Command {
  return new Command("inspect")
    .summary("show what is in a checkpoint")
    .description(
      "Reads a checkpoint to its end, checks all of it, and shows what it says about itself. No VM is needed, and nothing " +
        "is changed. CHECKPOINT is the path of a file, or a URI as migrate_incoming takes it.",
    )
    .helpOption("-h, --help", "show this help")
    .argument("<checkpoint>", "a path, or a URI such as file:PATH,offset=N or 'exec:zstd -dc vm.zst'")
    .option("--json", "print JSON")
    .option("--section <name>", "show the fields of this section, e.g. cpu")
    .option("--plugin <name>", "load a plugin: an npm package name or a path; may be repeated", collect, [])
    .addHelpText("after", "\nExit status: 0 it is whole; 3 it cannot be read; 6 it is damaged, or of a newer version.")
    .action(async (checkpoint: string, { json, section, plugin }: InspectOptions) => {
      await using kernel = new Kernel(installedPlugins(plugin));
      const inspection = await inspectCheckpoint(kernel, absoluteUri(checkpoint));
      const chosen = section === undefined ? undefined : sectionsNamed(inspection, section);
      const text =
        json === true
          ? JSON.stringify(chosen ?? inspection, plain, 2)
          : chosen === undefined
            ? reportOf(inspection)
            : chosen.map(fieldsOf).join("\n\n");
      process.stdout.write(`${text}\n`);
    });
}

function sectionsNamed({ sections }: CheckpointInspection, name: string): readonly InspectedSection[] {
  const found = sections.filter((section) => section.name === name);
  if (found.length === 0) {
    throw cliErrors.ERR_CPR_SECTION_UNKNOWN({ name, known: [...new Set(sections.map((section) => section.name))] });
  }
  return found;
}

/** 64-bit integers as decimal strings, which no reader of JSON rounds; bytes as hexadecimal digits. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === "bigint"
    ? value.toString()
    : value instanceof Uint8Array
      ? Buffer.from(value).toString("hex")
      : value;
}

/** What a person reads of a checkpoint. */
export function reportOf(inspection: CheckpointInspection): string {
  const { machine, capabilities, uuid, mode, processor, runState, wasSuspended, ram, sections, files } = inspection;
  const { model, count } = processor;
  const { purpose, bootId, writer } = inspection;
  const facts: readonly (readonly [string, string])[] = [
    ["checkpoint", `${inspection.uri}, ${formatBytes(inspection.length)}, format ${inspection.format}`],
    ["machine", machine],
    ["processor", `${count} vCPU${count === 1 ? "" : "s"} '${model}'`],
    ...(uuid === undefined ? [] : [["uuid", uuid] as const]),
    ["runstate", wasSuspended ? `${runState}, the guest was suspended` : runState],
    ["mode", mode],
    ...(purpose === undefined ? [] : [["made for", `a ${purpose}`] as const]),
    ...(bootId === undefined ? [] : [["boot", bootId] as const]),
    ...(writer === undefined ? [] : [["writer", `${writer.program} ${writer.version}`] as const]),
    ["capabilities", capabilities.length === 0 ? "none" : capabilities.join(", ")],
    ["generation", inspection.generation],
    ...ram.map(({ id, size, inPlace, bound, pages }) => {
      const place = inPlace
        ? `left in place${bound ? ", bound to this checkpoint" : ""}`
        : `${pages} pages (${formatBytes(4096 * pages)}) in the checkpoint`;
      return [`ram '${id}'`, `${formatBytes(size)}, ${place}`] as const;
    }),
    ...files.map(({ id, path, size }) => [`file '${id}'`, `${path}, ${formatBytes(size)}`] as const),
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const names = Math.max(...sections.map(({ name, instance }) => `${name} ${instance}`.length));
  const kinds = Math.max(...sections.map(({ kind }) => kind.length));
  return [
    ...facts.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    "",
    "sections",
    ...sections.map(({ name, instance, kind, version, size }) => {
      const bytes = `${size} bytes`.padStart(12);
      return `  ${`${name} ${instance}`.padEnd(names)}  ${kind.padEnd(kinds)}  version ${version}${bytes}`;
    }),
  ].join("\n");
}

function fieldsOf({ name, instance, kind, version, fields }: InspectedSection): string {
  const lines = Object.entries(fields).map(([field, value]) => `  ${field}: ${textOf(value)}`);
  return [`${name} ${instance} (${kind} version ${version})`, ...lines].join("\n");
}

function textOf(value: DescribedValue): string {
  if (value instanceof Uint8Array) {
    return value.every((byte) => byte === 0) ? `${value.length} zeros` : Buffer.from(value).toString("hex");
  }
  if (typeof value === "number" || typeof value === "bigint") {
    return `0x${value.toString(16)}`;
  }
  if (Array.isArray(value)) {
    return `[${value.map(textOf).join(", ")}]`;
  }
  return typeof value === "object"
    ? `{ ${Object.entries(value)
        .map(([name, each]) => `${name}: ${textOf(each)}`)
        .join(", ")} }`
    : String(value);
}
