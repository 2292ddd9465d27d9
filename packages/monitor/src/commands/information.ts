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

interface MemoryDevice {
  readonly id: string;
  readonly size: number;
  readonly share: boolean;
  readonly location: string;
}

/** `query-memdev` / `info memdev` */
export const QueryMemoryCommand = defineCommand({
  name: "query-memdev",
  words: "info memdev",
  summary: "show the memory objects behind guest RAM",
  arguments: [],
  execute: async ({ machine }) => machine.queryMemory(),
  print: (result) =>
    (result as readonly MemoryDevice[])
      .flatMap(({ id, size, share, location }) => [
        `memory backend: ${id}`,
        `  size:  ${size}`,
        `  share: ${share}`,
        `  location: ${location}`,
      ])
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
