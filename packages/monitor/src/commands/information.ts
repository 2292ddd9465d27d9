import { describeRunState, type RunState } from "@cpr/core";
import { defineCommand } from "../define-command.ts";

/** `query-status` / `info status` */
export const QueryStatusCommand = defineCommand({
  name: "query-status",
  words: "info status",
  summary: "show whether the guest runs",
  arguments: [],
  execute: async ({ machine }) => ({ running: machine.runState === "running", status: machine.runState }),
  print: (result) => `VM status: ${describeRunState((result as { status: RunState }).status)}`,
});

/** `query-name` / `info name` */
export const QueryNameCommand = defineCommand({
  name: "query-name",
  words: "info name",
  summary: "show the name of the VM",
  arguments: [],
  execute: async ({ machine }) => ({ name: machine.name }),
  print: (result) => (result as { name: string }).name,
});

/** `query-uuid` / `info uuid` */
export const QueryUuidCommand = defineCommand({
  name: "query-uuid",
  words: "info uuid",
  summary: "show the UUID of the VM",
  arguments: [],
  execute: async ({ machine }) => ({ UUID: machine.uuid ?? "00000000-0000-0000-0000-000000000000" }),
  print: (result) => (result as { UUID: string }).UUID,
});

/** What `query-memdev` answers: QEMU's Memdev, and where it is. */
interface MemoryDevice {
  readonly id: string;
  readonly size: number;
  readonly merge: boolean;
  readonly dump: boolean;
  readonly prealloc: boolean;
  readonly share: boolean;
  readonly reserve: boolean;
  readonly "host-nodes": readonly number[];
  readonly policy: string;
  readonly "x-location": string;
}

/** `query-memdev` / `info memdev` */
export const QueryMemoryCommand = defineCommand({
  name: "query-memdev",
  words: "info memdev",
  summary: "show the memory objects behind guest RAM",
  arguments: [],
  execute: async ({ machine }) =>
    machine.queryMemory().map(
      ({ id, size, share, prealloc, location }): MemoryDevice => ({
        ...{ id, size, merge: false, dump: true, prealloc, share, reserve: true, "host-nodes": [], policy: "default" },
        "x-location": location,
      }),
    ),
  print: (result) =>
    (result as readonly MemoryDevice[])
      .flatMap(({ id, size, merge, dump, prealloc, share, reserve, policy, "x-location": location }) => [
        `memory backend: ${id}`,
        `  size:  ${size}`,
        `  merge: ${merge}`,
        `  dump: ${dump}`,
        `  prealloc: ${prealloc}`,
        `  share: ${share}`,
        `  reserve: ${reserve}`,
        `  policy: ${policy}`,
        "  host nodes:",
        `  location: ${location}`,
      ])
      .join("\n"),
});

/** What `query-block` answers of a disk: what is essential of QEMU's BlockInfo. */
interface BlockInformation {
  readonly device: string;
  readonly qdev?: string;
  readonly type: "unknown";
  readonly removable: false;
  readonly locked: false;
  readonly inserted: {
    readonly file: string;
    readonly "node-name": string;
    readonly ro: boolean;
    readonly drv: string;
    readonly encrypted: false;
    readonly backing_file_depth: 0;
    readonly detect_zeroes: "off";
    readonly cache: { readonly writeback: boolean; readonly direct: boolean; readonly "no-flush": boolean };
    readonly image: {
      readonly filename: string;
      readonly format: string;
      readonly "virtual-size": number;
      readonly "actual-size"?: number;
    };
  };
}

/** `query-block` / `info block` */
export const QueryBlockCommand = defineCommand({
  name: "query-block",
  words: "info block",
  summary: "show the disks",
  arguments: [],
  execute: async ({ machine }) =>
    (await machine.queryBlock()).map(
      ({ id, driver, path, readOnly, cache, size, actualSize, user }): BlockInformation => ({
        device: id,
        ...(user === undefined ? {} : { qdev: user }),
        ...{ type: "unknown", removable: false, locked: false },
        inserted: {
          ...{ file: path, "node-name": id, ro: readOnly, drv: driver, encrypted: false, backing_file_depth: 0 },
          detect_zeroes: "off",
          cache: { writeback: true, direct: cache.direct, "no-flush": cache.noFlush },
          image: {
            ...{ filename: path, format: driver, "virtual-size": size },
            ...(actualSize === undefined ? {} : { "actual-size": actualSize }),
          },
        },
      }),
    ),
  print: (result) =>
    (result as readonly BlockInformation[])
      .flatMap(({ device, qdev, inserted: { file, drv, ro, cache } }) => [
        `${device}: ${file} (${drv}${ro ? ", read-only" : ""})`,
        ...(qdev === undefined ? [] : [`    Attached to:      ${qdev}`]),
        `    Cache mode:       writeback${cache.direct ? ", direct" : ""}${cache["no-flush"] ? ", ignore flushes" : ""}`,
      ])
      .join("\n"),
});

/** What `query-chardev` answers: QEMU's ChardevInfo. */
interface CharacterDeviceInformation {
  readonly label: string;
  readonly filename: string;
  readonly "frontend-open": boolean;
}

/** `query-chardev` / `info chardev` */
export const QueryCharacterDevicesCommand = defineCommand({
  name: "query-chardev",
  words: "info chardev",
  summary: "show the character devices",
  arguments: [],
  execute: async ({ machine }) =>
    machine.queryCharacterDevices().map(
      ({ id, filename, listening }): CharacterDeviceInformation => ({
        label: id,
        filename,
        "frontend-open": listening,
      }),
    ),
  print: (result) =>
    (result as readonly CharacterDeviceInformation[])
      .map(({ label, filename }) => `${label}: filename=${filename}`)
      .join("\n"),
});

/** What `query-cpus-fast` answers: QEMU's CpuInfoFast. */
interface Processor {
  readonly "cpu-index": number;
  readonly "qom-path": string;
  readonly "thread-id": number;
  readonly props: { readonly "core-id": number; readonly "thread-id": number; readonly "socket-id": number };
  readonly target: "x86_64";
}

/** `query-cpus-fast` / `info cpus` */
export const QueryProcessorsCommand = defineCommand({
  name: "query-cpus-fast",
  words: "info cpus",
  summary: "show the vCPUs",
  arguments: [],
  execute: async ({ machine }) => {
    const { processors } = await machine.queryExecution();
    return Array.from(
      { length: processors },
      (_, index): Processor => ({
        "cpu-index": index,
        "qom-path": `/machine/unattached/device[${index}]`,
        // All vCPUs are threads, or take turns on one thread, of this process.
        "thread-id": process.pid,
        props: { "core-id": 0, "thread-id": 0, "socket-id": index },
        target: "x86_64",
      }),
    );
  },
  print: (result) =>
    (result as readonly Processor[])
      .map(
        ({ "cpu-index": index, "thread-id": thread }) =>
          `${index === 0 ? "*" : " "} CPU #${index}: thread_id=${thread}`,
      )
      .join("\n"),
});

/** `x-query-execution` / `info execution`: ours, QEMU has no equal. */
export const QueryExecutionCommand = defineCommand({
  name: "x-query-execution",
  words: "info execution",
  summary: "show the execution backend and how many instructions it has executed",
  arguments: [],
  execute: ({ machine }) => machine.queryExecution(),
  print: (result) => {
    const { backend, processors, instructions } = result as {
      backend: string;
      processors: number;
      instructions: number | undefined;
    };
    const counted = instructions === undefined ? "" : `\ninstructions executed: ${instructions}`;
    return `backend: ${backend}\nvCPUs: ${processors}${counted}`;
  },
});
