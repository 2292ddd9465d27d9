import { openSync, readFileSync, readSync, writeFileSync } from "node:fs";
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
  /** The source is stopped before `migrate`. */
  readonly stopped?: true;
  /** `migrate` is refused with this text. */
  readonly refused?: RegExp;
}

const prefix = 0x1000;

const cases: readonly FileCase[] = [
  { name: "mode/reboot", mode: "cpr-reboot", capabilities: ["x-ignore-shared"], sharedRam: true, stopped: true },
  { name: "precopy/file", stopped: true },
  { name: "precopy/file/offset", suffix: ",offset=0x1000", offset: prefix },
  {
    name: "precopy/file/offset/bad",
    suffix: ",offset=0x20M",
    refused: /^file URI has bad offset 0x20M: Invalid argument$/,
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
  it(`/migration/${name}`, async () => {
    const folder = scratchFolder();
    const file = join(folder, "migfile");
    const uri = `file:${file}${suffix}`;
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
    await source.execute("migrate", { uri });
    await source.untilMigration("completed");
    expect(await source.status()).toEqual({ running: false, status: "postmigrate" });
    expectOneMoment(readRam(ramOf("source")));
    // Unlike QEMU, a second process is not let at RAM that one has.
    await source.quit();

    const target = await start("target", "-incoming", "defer");
    await target.execute("migrate-incoming", { uri });
    await target.untilMigration("completed");
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
