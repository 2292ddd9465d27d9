import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildGuestProgram } from "@cpr/guest-programs";
import { QmpClient } from "@cpr/monitor";
import { expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";

const qemu = "qemu-system-x86_64";

/** What is asked, and whether a descriptor for writing or for reading comes with it. */
const questions: readonly (readonly [string, Readonly<Record<string, unknown>>, ("w" | "r")?])[] = [
  ["add-fd", {}],
  ["add-fd", { "fdset-id": -1 }, "w"],
  ["add-fd", { "fdset-id": 3, opaque: "mine" }, "w"],
  ["add-fd", { "fdset-id": 3 }, "r"],
  ["add-fd", {}, "r"],
  ["query-fdsets", {}],
  ["remove-fd", { "fdset-id": 9 }],
  ["remove-fd", { "fdset-id": 3, fd: 99_999 }],
  ["getfd", { fdname: "a" }],
  ["getfd", { fdname: "1a" }, "w"],
  ["getfd", { fdname: "a" }, "w"],
  ["getfd", { fdname: "a" }, "r"],
  ["closefd", { fdname: "b" }],
  ["closefd", { fdname: "a" }],
  ["migrate", { uri: "fd:b" }],
  ["migrate", { uri: "file:/dev/fdset/x" }],
  ["migrate", { uri: "file:/dev/fdset/9" }],
  ["remove-fd", { "fdset-id": 3 }],
  ["query-fdsets", {}],
];

/** The answers of a VM; descriptors have other numbers in each process. */
async function answers(words: readonly string[], folder: string, name: string): Promise<readonly string[]> {
  const socket = join(folder, `${name}.qmp`);
  const [command = "", ...rest] = words;
  const child = spawn(command, [...rest, "-S", "-qmp", `unix:${socket},server=on,wait=off`], { stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  let client: QmpClient | undefined;
  while (client === undefined) {
    expect(child.exitCode).toBe(null);
    client = await QmpClient.connect(socket).catch(() => delay(20, undefined));
  }
  const file = join(folder, `${name}.state`);
  const descriptors = { w: openSync(file, "w"), r: openSync(file, "r") };
  const result: string[] = [];
  for (const [command, values, which] of questions) {
    const answer = await client
      .execute(command, values, which === undefined ? [] : [descriptors[which]])
      .then(numberless, (error: Error) => error.message);
    result.push(`${command} ${JSON.stringify(values)}: ${answer}`);
  }
  for (const each of Object.values(descriptors)) closeSync(each);
  await client.close();
  return result;
}

function numberless(answer: unknown): string {
  const sorted = (_key: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)))
      : value;
  return JSON.stringify(answer, sorted).replaceAll(/"fd":\d+/g, '"fd":N');
}

it("descriptors over QMP are answered as QEMU answers", async ({ skip }) => {
  if (spawnSync(qemu, ["--version"]).status !== 0) return skip(`there is no ${qemu} here`);
  const folder = scratchFolder();
  const kernel = buildGuestProgram("pages");
  const theirs = await answers([qemu, "-M", "microvm", "-m", "64M", "-display", "none", "-nodefaults"], folder, "qemu");
  const words = [process.execPath, cprCommand, "run", "-m", "64M", "-kernel", kernel, "-serial", "null"];
  expect(await answers(words, folder, "cpr")).toEqual(theirs);
});
