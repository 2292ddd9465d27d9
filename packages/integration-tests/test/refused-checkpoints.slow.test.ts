import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCprError } from "@cpr/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { expectOneMoment } from "./one-moment.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

const ramObject = (path: string, size = "32M"): string[] => [
  ...["-object", `memory-backend-file,id=ram0,size=${size},mem-path=${path},share=on`],
];

/** Saves a VM with RAM in a file, which stays in place unless it is to be copied, and ends it. */
async function checkpoint(
  folder: string,
  name: string,
  {
    options = [],
    inPlace = true,
    ram = ramObject(join(folder, `${name}.ram`), options.includes("-m") ? "48M" : "32M"),
  }: { readonly options?: readonly string[]; readonly inPlace?: boolean; readonly ram?: readonly string[] } = {},
): Promise<string> {
  const process = await QmpProcess.start({ folder, name, options: [...ram, ...options] });
  await process.setParameters({ mode: "cpr-reboot" });
  if (inPlace) await process.setCapabilities("x-ignore-shared");
  await process.untilPrinted("B");
  const file = join(folder, `${name}.state`);
  await process.execute("migrate", { uri: `file:${file}` });
  await process.untilMigration("completed");
  await process.quit();
  return file;
}

/** A process that waits for a checkpoint, with RAM in a file of the folder or as options say. */
async function waiting(folder: string, ram: string | readonly string[]): Promise<QmpProcess> {
  const options = [...(typeof ram === "string" ? ramObject(join(folder, ram)) : ram), "-incoming", "defer"];
  const process = await QmpProcess.start({ folder, name: "waiting", options });
  await process.setParameters({ mode: "cpr-reboot" });
  await process.setCapabilities("x-ignore-shared");
  return process;
}

/** The code with which a checkpoint is refused, or undefined if it is loaded. */
async function load(process: QmpProcess, uri: string): Promise<string | undefined> {
  try {
    await process.execute("migrate-incoming", { uri, "exit-on-error": false });
    return undefined;
  } catch (error) {
    if (!isCprError(error)) throw error;
    expect(error.message).toMatch(/^\S[^\n]+$/);
    return error.code;
  }
}

it("refuses what is not the checkpoint, says why, waits on, and loads the right one after", {
  timeout: 120_000,
}, async () => {
  const folder = scratchFolder();
  const right = await checkpoint(folder, "vm");
  const whole = readFileSync(right);
  const ram = readFileSync(join(folder, "vm.ram"));
  /** A file with other bytes, as a URI. */
  const changed = (name: string, bytes: Uint8Array): string => {
    const file = join(folder, `${name}.state`);
    writeFileSync(file, bytes);
    return `file:${file}`;
  };
  const flipped = (at: number): Buffer => {
    const bytes = Buffer.from(whole);
    bytes[at < 0 ? bytes.length + at : at] = (bytes.at(at) as number) ^ 0x10;
    return bytes;
  };
  mkdirSync(join(folder, "a-folder"));
  const wrong: Record<string, readonly [string, string]> = {
    "a path where nothing is": [`file:${folder}/nothing`, "ERR_CPR_FILE_OPEN"],
    "a folder": [`file:${folder}/a-folder`, "ERR_CPR_FILE_OPEN"],
    "a command that fails": ["exec:exit 3", "ERR_CPR_EXEC_FAILED"],
    "a scheme that is not known": ["teapot:x", "ERR_CPR_NO_TRANSPORT"],
    "an empty file": [changed("empty", Buffer.alloc(0)), "ERR_CPR_STREAM_TRUNCATED"],
    "a file of something else": [changed("text", Buffer.from("#!/bin/sh\necho hello\n")), "ERR_CPR_STREAM_MAGIC"],
    zeros: [changed("zeros", Buffer.alloc(65_536)), "ERR_CPR_STREAM_MAGIC"],
    "its RAM": [`file:${folder}/vm.ram`, "ERR_CPR_STREAM_MAGIC"],
    "one of another version": [changed("version", flipped(7)), "ERR_CPR_STREAM_VERSION"],
    "its first bytes": [changed("head", whole.subarray(0, 6)), "ERR_CPR_STREAM_TRUNCATED"],
    "half of it": [changed("half", whole.subarray(0, Math.floor(whole.length / 2))), "ERR_CPR_STREAM_TRUNCATED"],
    "all but its last byte": [changed("short", whole.subarray(0, -1)), "ERR_CPR_STREAM_DAMAGED"],
    "one with something behind it": [
      changed("long", Buffer.concat([whole, Buffer.alloc(1)])),
      "ERR_CPR_STREAM_DAMAGED",
    ],
    "one with a bit changed in a state": [
      changed("state", flipped(Math.floor(whole.length / 3))),
      "ERR_CPR_STREAM_DAMAGED",
    ],
    "one with a bit changed in its description": [changed("description", flipped(-200)), "ERR_CPR_STREAM_DAMAGED"],
    "one with a bit changed at its end": [changed("end", flipped(-3)), "ERR_CPR_STREAM_DAMAGED"],
    "another VM's": [`file:${await checkpoint(folder, "other")}`, "ERR_CPR_RAM_MOVED_ON"],
    "one of a VM with more RAM": [
      `file:${await checkpoint(folder, "larger", { options: ["-m", "48M"] })}`,
      "ERR_CPR_STREAM_RAM_SIZE",
    ],
    "one of a VM with more vCPUs": [
      `file:${await checkpoint(folder, "more", { options: ["-smp", "2"] })}`,
      "ERR_CPR_STREAM_PROCESSOR",
    ],
    "one whose RAM was copied": [
      `file:${await checkpoint(folder, "copied", { inPlace: false })}`,
      "ERR_CPR_STREAM_CAPABILITY",
    ],
  };
  const process = await waiting(folder, "vm.ram");
  const codes: Record<string, string | undefined> = {};
  for (const [name, [uri]] of Object.entries(wrong)) {
    codes[name] = await load(process, uri);
    expect((await process.status()).status, name).toBe("inmigrate");
  }
  expect(codes).toEqual(Object.fromEntries(Object.entries(wrong).map(([name, [, code]]) => [name, code])));
  expect(Buffer.compare(readFileSync(join(folder, "vm.ram")), ram)).toBe(0);
  expect(await load(process, `file:${right}`)).toBe(undefined);
  await process.untilPrinted("B");
  await process.execute("stop");
  expectOneMoment(readFileSync(join(folder, "vm.ram")));
});

describe("RAM in place that is not what was left there", () => {
  it("is refused at the start if it was cut off", async () => {
    const folder = scratchFolder();
    await checkpoint(folder, "vm");
    truncateSync(join(folder, "vm.ram"), 16 * 1024 * 1024);
    await expect(waiting(folder, "vm.ram")).rejects.toThrow("cpr ended with status 3");
  });

  it.each<[string, string, (ram: string, folder: string) => Promise<void> | void]>([
    ["emptied", "ERR_CPR_RAM_GONE", (ram) => truncateSync(ram, 0)],
    [
      "cut off and lengthened again",
      "ERR_CPR_RAM_MOVED_ON",
      (ram) => {
        truncateSync(ram, 16 * 1024 * 1024);
        truncateSync(ram, 32 * 1024 * 1024);
      },
    ],
    ["removed", "ERR_CPR_RAM_GONE", (ram) => rmSync(ram)],
    [
      "written over by another VM's",
      "ERR_CPR_RAM_MOVED_ON",
      async (ram, folder) => {
        await checkpoint(folder, "other");
        copyFileSync(join(folder, "other.ram"), ram);
      },
    ],
    [
      "another VM's under its name",
      "ERR_CPR_RAM_MOVED_ON",
      async (ram, folder) => {
        await checkpoint(folder, "other");
        renameSync(join(folder, "other.ram"), ram);
      },
    ],
    [
      "written to in one byte",
      "ERR_CPR_RAM_MOVED_ON",
      (ram) => {
        const descriptor = openSync(ram, "r+");
        writeSync(descriptor, Uint8Array.of(1), 0, 1, 0x7000);
        closeSync(descriptor);
      },
    ],
  ])("is refused at the load if it was %s", async (_, code, spoil) => {
    const folder = scratchFolder();
    const right = await checkpoint(folder, "vm");
    await spoil(join(folder, "vm.ram"), folder);
    const process = await waiting(folder, "vm.ram");
    expect(await load(process, `file:${right}`)).toBe(code);
    expect((await process.status()).status).toBe("inmigrate");
  });
});

it.each([
  ["tmpfs", "/dev/shm"],
  ["the file system for temporary files", tmpdir()],
])("RAM on %s that makes all its pages present is what was left there", async (_, parent) => {
  const folder = mkdtempSync(join(parent, "cpr-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const prealloc = ["-object", `memory-backend-file,id=ram0,size=32M,mem-path=${folder}/vm.ram,share=on,prealloc=on`];
  const right = await checkpoint(folder, "vm", { ram: prealloc });
  const process = await waiting(folder, prealloc);
  expect(await load(process, `file:${right}`)).toBe(undefined);
  await process.untilPrinted("B");
});
