import { closeSync, constants, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { changingPages } from "@cpr/guest-programs";
import { expect, it } from "vitest";
import { expectOneMoment } from "./one-moment.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

/** One of QEMU's test cases of migrations through a file (tests/qtest/migration/file-tests.c), as a record. */
interface FileCase {
  /** The name of QEMU's test below /migration. */
  readonly name: string;
  /** What follows the file's name in the URI. */
  readonly suffix?: string;
  /** Bytes of the file before the stream, which are somebody else's. */
  readonly offset?: number;
  readonly mode?: string;
  readonly capabilities?: readonly string[];
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** RAM is a file that both processes share. */
  readonly sharedRam?: true;
  /** The processes get the file as descriptors, in a set. */
  readonly descriptors?: true;
  /** Descriptors beside the first one bypass the page cache. */
  readonly direct?: true;
  /** The source is stopped before `migrate`. */
  readonly stopped?: true;
  /** `migrate` is refused with this text. */
  readonly refused?: RegExp;
}

const prefix = 0x1000;

const parallel = { capabilities: ["mapped-ram", "multifd"], parameters: { "multifd-channels": 4 } };
const direct = { ...parallel, parameters: { ...parallel.parameters, "direct-io": true }, direct: true } as const;

const cases: readonly FileCase[] = [
  { name: "mode/reboot", mode: "cpr-reboot", capabilities: ["x-ignore-shared"], sharedRam: true, stopped: true },
  { name: "precopy/file", stopped: true },
  { name: "precopy/file/offset", suffix: ",offset=0x1000", offset: prefix },
  { name: "precopy/file/offset/fdset", suffix: ",offset=0x1000", offset: prefix, descriptors: true },
  {
    name: "precopy/file/offset/bad",
    suffix: ",offset=0x20M",
    refused: /^file URI has bad offset 0x20M: Invalid argument$/,
  },
  { name: "precopy/file/mapped-ram", capabilities: ["mapped-ram"], stopped: true },
  { name: "precopy/file/mapped-ram/live", capabilities: ["mapped-ram"] },
  { name: "multifd/file/mapped-ram", ...parallel, stopped: true },
  { name: "multifd/file/mapped-ram/live", ...parallel },
  { name: "multifd/file/mapped-ram/dio", ...direct },
  { name: "multifd/file/mapped-ram/fdset", ...parallel, descriptors: true },
  { name: "multifd/file/mapped-ram/fdset/dio", ...direct, descriptors: true },
  {
    name: "multifd/file/mapped-ram/ignore-shared",
    ...parallel,
    capabilities: [...parallel.capabilities, "x-ignore-shared"],
    sharedRam: true,
  },
];

const ram = { id: "ram0", size: 32 * 1024 * 1024 };

/** RAM as it lies in its file. */
function readRam(path: string): Uint8Array {
  const descriptor = openSync(path, "r");
  const bytes = new Uint8Array(ram.size);
  readSync(descriptor, bytes);
  return bytes;
}

for (const each of cases) {
  const { name, suffix = "", offset = 0, mode, capabilities = [], parameters = {}, sharedRam, stopped, refused } = each;
  it(`/migration/${name}`, async ({ skip }) => {
    const folder = scratchFolder();
    const file = join(folder, "migfile");
    if (each.direct === true && !takesDirect(file)) skip(`${folder} has no O_DIRECT`);
    const uri = each.descriptors === true ? `file:/dev/fdset/1${suffix}` : `file:${file}${suffix}`;
    // RAM that is not shared is a file of each process, so that it can be looked at.
    const ramOf = (side: string): string => join(folder, sharedRam === true ? "ram" : `ram-${side}`);
    const start = async (side: string, ...more: string[]): Promise<QmpProcess> => {
      const object = `memory-backend-file,id=${ram.id},size=${ram.size},mem-path=${ramOf(side)},share=on`;
      const process = await QmpProcess.start({ folder, name: side, options: ["-object", object, ...more] });
      if (mode !== undefined) await process.setParameters({ mode });
      await process.setParameters(parameters);
      await process.setCapabilities(...capabilities);
      return process;
    };
    if (offset > 0) writeFileSync(file, "X".repeat(offset));
    const source = await start("source");
    await source.untilPrinted("B");
    if (stopped === true) {
      await source.execute("stop");
      await source.until("STOP");
    }
    if (refused !== undefined) {
      await expect(source.execute("migrate", { uri })).rejects.toThrow(refused);
      expect((await source.status()).running).toBe(true);
      await source.untilPrinted("B");
      return;
    }
    if (each.descriptors === true) await handOver(source, file, constants.O_WRONLY, each.direct);
    await source.execute("migrate", { uri });
    await source.untilMigration("completed");
    if (each.descriptors === true) await takeBack(source);
    expect(await source.status()).toEqual({ running: false, status: "postmigrate" });
    expectOneMoment(readRam(ramOf("source")));
    // Unlike QEMU, a second process is not let at RAM that one has.
    await source.quit();

    const target = await start("target", "-incoming", "defer");
    if (each.descriptors === true) await handOver(target, file, constants.O_RDONLY, each.direct);
    await target.execute("migrate-incoming", { uri });
    await target.untilMigration("completed");
    if (each.descriptors === true) await takeBack(target);
    if (stopped === true) await target.execute("cont");
    await target.until("RESUME");
    await target.untilPrinted("B");
    if (offset > 0) {
      const contents = readFileSync(file, "latin1");
      expect(contents.slice(0, offset + 4)).toBe(`${"X".repeat(offset)}QEVM`);
    }
    await expectRunsThenStops(target, ramOf("target"));
  });
}
/** Whether a new file takes O_DIRECT, which not every file system does. */
function takesDirect(file: string): boolean {
  try {
    closeSync(openSync(file, constants.O_CREAT | constants.O_RDWR | constants.O_DIRECT, 0o600));
    return true;
  } catch {
    return false;
  }
}

/** Gives a process two descriptors of the file, in the set 1. The second one bypasses the page cache if that is wanted. */
async function handOver(process: QmpProcess, file: string, access: number, direct = false): Promise<void> {
  for (const flags of [0, direct ? constants.O_DIRECT : 0]) {
    const descriptor = openSync(file, access | constants.O_CREAT | flags, 0o600);
    await process.execute("add-fd", { "fdset-id": 1 }, [descriptor]);
    closeSync(descriptor);
  }
}

/** Nobody uses the descriptors any more. */
async function takeBack(process: QmpProcess): Promise<void> {
  await process.execute("remove-fd", { "fdset-id": 1 });
  expect(await process.execute("query-fdsets")).toEqual([]);
}

/** QEMU's invariants: RAM changes, and does not any more when the VM is stopped, and is of one moment then. */
async function expectRunsThenStops(process: QmpProcess, path: string): Promise<void> {
  const first = (): number => readRam(path)[changingPages.start] as number;
  const before = first();
  await expect.poll(first, { timeout: 20_000, interval: 2 }).not.toBe(before);
  await process.execute("stop");
  await process.until("STOP");
  const stopped = readRam(path);
  expectOneMoment(stopped);
  await process.status();
  expect(Buffer.compare(readRam(path), stopped)).toBe(0);
}
