import { describeRunState, formatBytes, type RunState } from "@cpr/core";
import type { MigrationProgress } from "@cpr/monitor";
import { Command } from "commander";
import { connectToVm, withVm } from "./vm-connection.ts";

/** What `cpr status --json` prints: answers of QMP, unchanged. */
interface VmStatus {
  readonly name: string;
  readonly uuid: string;
  readonly running: boolean;
  readonly status: RunState;
  readonly memory: readonly { readonly id?: string; readonly size: number; readonly "x-location"?: string }[];
  readonly processors: number;
  readonly migration: MigrationProgress;
}

/** Describes `cpr status`. */
export function createStatusCommand(): Command {
  return withVm(new Command("status"))
    .summary("show how a running VM is")
    .description("Shows runstate, RAM and the last migration of a VM that was started with -qmp.")
    .helpOption("-h, --help", "show this help")
    .option("--json", "print JSON")
    .action(async (vm: string, { json }: { json?: true }) => {
      const status = await queryStatus(vm);
      process.stdout.write(`${json === true ? JSON.stringify(status, undefined, 2) : reportOf(status)}\n`);
    });
}

async function queryStatus(vm: string): Promise<VmStatus> {
  await using client = await connectToVm(vm);
  const ask = async <T>(command: string): Promise<T> => (await client.execute(command)) as T;
  const { name } = await ask<{ name: string }>("query-name");
  const { UUID } = await ask<{ UUID: string }>("query-uuid");
  const { running, status } = await ask<Pick<VmStatus, "running" | "status">>("query-status");
  const memory = await ask<VmStatus["memory"]>("query-memdev");
  const processors = (await ask<readonly unknown[]>("query-cpus-fast")).length;
  const migration = await ask<MigrationProgress>("query-migrate");
  return { name, uuid: UUID, running, status, memory, processors, migration };
}

function reportOf({ name, uuid, status, memory, processors, migration }: VmStatus): string {
  return [
    `VM '${name}' (${uuid}), ${processors} vCPU${processors === 1 ? "" : "s"}`,
    `VM status: ${describeRunState(status)}`,
    ...memory.map(({ id, size, "x-location": location }) => {
      return `RAM '${id ?? ""}': ${formatBytes(size)}${location === undefined ? "" : ` in ${location}`}`;
    }),
    `Migration status: ${migration.status ?? "none"}`,
    ...(migration["error-desc"] === undefined ? [] : [`  ${migration["error-desc"]}`]),
    ...(migration["x-notices"] ?? []).map((notice) => `  ${notice}`),
  ].join("\n");
}
