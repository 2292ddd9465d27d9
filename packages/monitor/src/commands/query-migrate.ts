import { isCprError, type MigrationForecast, type MigrationInformation } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { errorMember, type QmpError } from "../qmp/qmp-messages.ts";

/** Bytes of a page, which is what RAM is counted in. */
const pageSize = 4096;

/** What `query-migrate` answers: QEMU's MigrationInfo, and members of ours that begin with `x-`. */
interface MigrationAnswer {
  readonly status?: string;
  readonly "total-time"?: number;
  readonly "setup-time"?: number;
  readonly downtime?: number;
  readonly ram?: Readonly<Record<string, number>>;
  readonly "error-desc"?: string;
  readonly "blocked-reasons"?: readonly string[];
  readonly "x-notices"?: readonly string[];
  /** Code, category, hint and details of the error. */
  readonly "x-error"?: QmpError["cpr"];
}

/** Makes QEMU's members of what is known about a migration. Times are whole milliseconds. */
function answerOf(information: MigrationInformation, multifd: boolean): MigrationAnswer {
  const { status, totalTime, setupTime, downtime, ram, errorDescription, error, notices, blockedReasons } = information;
  const blocked = blockedReasons.length === 0 ? {} : { "blocked-reasons": blockedReasons };
  if (status === "none") {
    return blocked;
  }
  const time = (name: string, value: number | undefined) => (value === undefined ? {} : { [name]: Math.round(value) });
  return {
    status,
    ...time("total-time", totalTime),
    ...time("setup-time", setupTime),
    ...time("downtime", downtime),
    ...(ram === undefined ? {} : { ram: ramAnswer(ram, (totalTime ?? 0) - (setupTime ?? 0), multifd) }),
    ...(errorDescription === undefined ? {} : { "error-desc": errorDescription }),
    ...(isCprError(error) ? { "x-error": errorMember(error).cpr } : {}),
    ...blocked,
    ...(notices === undefined ? {} : { "x-notices": notices }),
  };
}

function ramAnswer(
  { total, transferred, remaining, inPlace, zeroPages, normalPages, passes }: NonNullable<MigrationInformation["ram"]>,
  milliseconds: number,
  multifd: boolean,
): Readonly<Record<string, number>> {
  const perMillisecond = (amount: number): number => (milliseconds > 0 ? amount / milliseconds : 0);
  return {
    transferred,
    remaining,
    total,
    duplicate: zeroPages,
    normal: normalPages,
    "normal-bytes": normalPages * pageSize,
    "dirty-pages-rate": 0,
    mbps: perMillisecond(transferred * 8) / 1000,
    "dirty-sync-count": passes,
    "postcopy-requests": 0,
    "page-size": pageSize,
    "multifd-bytes": multifd ? transferred : 0,
    "pages-per-second": Math.round(perMillisecond(normalPages + zeroPages) * 1000),
    // The VM stands still while RAM is copied.
    "precopy-bytes": 0,
    "downtime-bytes": transferred,
    "postcopy-bytes": 0,
    "dirty-sync-missed-zero-copy": 0,
    "x-in-place": inPlace,
  };
}

/** `query-migrate` / `info migrate` */
export const QueryMigrateCommand = defineCommand({
  name: "query-migrate",
  words: "info migrate",
  summary: "show migration status",
  arguments: [],
  execute: async ({ machine }) =>
    answerOf(machine.queryMigrate(), machine.settings.capabilities().get("multifd") === true),
  print: (result) => {
    const answer = result as MigrationAnswer;
    const { status = "none", downtime, ram } = answer;
    const blocked = (answer["blocked-reasons"] ?? []).map((reason) => `  ${reason}`);
    const description = status === "failed" && answer["error-desc"] !== undefined ? ` (${answer["error-desc"]})` : "";
    const time = (name: string, value: number | undefined) => (value === undefined ? [] : [`${name}: ${value} ms`]);
    return [
      ...(blocked.length === 0 ? [] : ["Outgoing migration blocked:", ...blocked]),
      `Migration status: ${status}${description}`,
      ...time("total time", answer["total-time"]),
      ...time("downtime", downtime),
      ...time("setup", answer["setup-time"]),
      ...(ram === undefined ? [] : ramLines(ram)),
      ...(answer["x-notices"] ?? []).map((notice) => `note: ${notice}`),
    ].join("\n");
  },
});

/** QEMU's lines, and one of ours. */
function ramLines(ram: Readonly<Record<string, number>>): readonly string[] {
  const value = (name: string): number => ram[name] ?? 0;
  const kilobytes = (name: string): string => `${Math.floor(value(name) / 1024)} kbytes`;
  return [
    `transferred ram: ${kilobytes("transferred")}`,
    `throughput: ${value("mbps").toFixed(2)} mbps`,
    `remaining ram: ${kilobytes("remaining")}`,
    `total ram: ${kilobytes("total")}`,
    `ram left in place: ${kilobytes("x-in-place")}`,
    `duplicate: ${value("duplicate")} pages`,
    `normal: ${value("normal")} pages`,
    `normal bytes: ${kilobytes("normal-bytes")}`,
    `dirty sync count: ${value("dirty-sync-count")}`,
    `page size: ${kilobytes("page-size")}`,
    `multifd bytes: ${kilobytes("multifd-bytes")}`,
    `pages-per-second: ${value("pages-per-second")}`,
    ...(value("downtime-bytes") === 0 ? [] : [`downtime ram: ${kilobytes("downtime-bytes")}`]),
  ];
}

/** `x-query-migrate-plan` / `info migrate_plan`: ours, QEMU has no equal. */
export const QueryMigratePlanCommand = defineCommand({
  name: "x-query-migrate-plan",
  words: "info migrate_plan",
  summary: "show what migrate would do with a URI, and what it would be refused for; nothing is done",
  arguments: [{ name: "uri", type: "string", rest: true, summary: "where to, e.g. file:vm.state" }],
  execute: async ({ machine }, values) => machine.planMigration(String(values["uri"])),
  print: (result) => {
    const { mode, purpose, refusals, ram, copied, free } = result as MigrationForecast;
    return [
      `mode: ${mode}`,
      `made for: ${purpose}`,
      ...refusals.flatMap(({ message, hint }) => [`refused: ${message}`, ...(hint === undefined ? [] : [`  ${hint}`])]),
      ...ram.map(({ reason }) => `ram: ${reason}`),
      `ram to copy: at most ${Math.ceil(copied / 1024)} kbytes`,
      ...(free === undefined ? [] : [`free space: ${Math.floor(free / 1024)} kbytes`]),
    ].join("\n");
  },
});
