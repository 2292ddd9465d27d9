import { parseMemorySize } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { monitorErrors } from "../monitor-errors.ts";

/** `balloon`: programs say bytes, people MiB or a size with a suffix. */
export const BalloonCommand = defineCommand({
  name: "balloon",
  words: "balloon",
  summary: "ask the guest to have no more RAM than this",
  arguments: [
    { name: "value", type: "integer", onlyFor: "programs", summary: "bytes" },
    { name: "target", type: "string", onlyFor: "people", summary: "MiB, or a size with a suffix: 1G" },
  ],
  execute: async ({ machine }, { value, target }) => {
    const bytes = target === undefined ? (value as number) : parseMemorySize(String(target), "M");
    if (bytes <= 0) throw monitorErrors.ERR_CPR_BALLOON_TARGET({});
    await machine.setBalloon(bytes);
  },
});

/** `query-balloon` / `info balloon` */
export const QueryBalloonCommand = defineCommand({
  name: "query-balloon",
  words: "info balloon",
  summary: "show how much RAM the guest has left",
  arguments: [],
  execute: async ({ machine }) => ({ actual: await machine.queryBalloon() }),
  print: (result) => `balloon: actual=${(result as { actual: number }).actual / 2 ** 20}`,
});
