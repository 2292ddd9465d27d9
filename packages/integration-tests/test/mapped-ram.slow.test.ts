import { existsSync, openSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { mappedHeader, mappedRam, mappedPage as page, mappedRamSize as ramSize } from "./mapped-file.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

function readRam(path: string): Buffer {
  const bytes = Buffer.alloc(ramSize);
  readSync(openSync(path, "r"), bytes);
  return bytes;
}

const capabilities = ["mapped-ram", "multifd"] as const;

/** Starts a VM whose RAM is a file, so that it can be looked at. */
async function start(folder: string, name: string, ...options: string[]): Promise<QmpProcess> {
  const object = `memory-backend-file,id=ram0,size=${ramSize},mem-path=${join(folder, `ram-${name}`)},share=on`;
  const started = await QmpProcess.start({ folder, name, options: ["-object", object, ...options] });
  await started.setParameters({ mode: "cpr-reboot", "multifd-channels": 3 });
  await started.setCapabilities(...capabilities);
  return started;
}

/** Saves a running VM to a file. */
async function save(folder: string, uri: string): Promise<void> {
  const source = await start(folder, "source");
  await source.untilPrinted("B");
  for (;;) {
    await source.execute("migrate", { uri });
    const { ram } = (await source.untilMigration("completed")) as unknown as { ram: { normal: number } };
    if (ram.normal > 4000) break;
    // The counters in the guest's pages have 8 bits: in one round of 256 they are zero, and so are the pages.
    await source.execute("cont");
    await source.untilPrinted("B");
  }
  await source.quit();
}

it.each([0, 0x1000, 0x12345])(
  "a file with mapped-ram at offset %i is QEMU's, sparse, has the RAM as it was, and is loaded, also if it is moved",
  async (offset) => {
    const folder = scratchFolder();
    const path = join(folder, "vm.state");
    if (offset > 0) writeFileSync(path, "X".repeat(offset));
    await save(folder, `file:${path},offset=${offset}`);
    const file = readFileSync(path);
    expect(file.subarray(0, offset).toString("latin1")).toBe("X".repeat(offset));
    expect(file.subarray(offset, offset + 4).toString("latin1")).toBe("QEVM");
    expect(Buffer.compare(mappedRam(file), readRam(join(folder, "ram-source")))).toBe(0);
    const { size, blocks } = statSync(path);
    expect(size).toBeGreaterThan(ramSize);
    expect(blocks * 512).toBeLessThan(0.7 * ramSize);
    // The header has positions in the file, but a stream can be moved, as by taking away what stood in front of it.
    writeFileSync(join(folder, "moved.state"), file.subarray(offset));
    for (const [name, uri] of [
      ["same", `file:${path},offset=${offset}`],
      ["moved", `file:${join(folder, "moved.state")}`],
    ] as const) {
      const target = await start(folder, name, "-incoming", "defer");
      await target.execute("migrate-incoming", { uri, "exit-on-error": false });
      await target.untilMigration("completed");
      await target.untilPrinted("B");
      await target.quit();
    }
  },
  120_000,
);

it("a file whose pages are not what was written is refused, says where, and changes no RAM", async () => {
  const folder = scratchFolder();
  const path = join(folder, "vm.state");
  const uri = `file:${path}`;
  await save(folder, uri);
  const whole = readFileSync(path);
  const { bitmapOffset, pagesOffset } = mappedHeader(whole);
  const chunk = 1024 * 1024;
  const first = pagesOffset + 16 * chunk;
  // Of several MiB that are damaged, the first is named, whichever thread comes upon which.
  const damages: readonly (readonly [what: string, place: string, change: (file: Buffer) => void])[] = [
    [
      "a changed bit in a page",
      "0x1000000",
      (file) => void file.writeUInt8(file.readUInt8(first + 5 * page) ^ 0x10, first + 5 * page),
    ],
    [
      "a page that the bitmap lacks",
      "0x1000000",
      (file) => void file.writeUInt8(0x7f, bitmapOffset + (16 * chunk) / page / 8),
    ],
    [
      "an empty bitmap, as of a torn file",
      "0x0",
      (file) => void file.fill(0, bitmapOffset, bitmapOffset + ramSize / page / 8),
    ],
    [
      "two chunks that changed their places",
      "0x100000",
      (file) => {
        const program = pagesOffset + chunk;
        const other = Buffer.from(file.subarray(first, first + chunk));
        file.copy(file, first, program, program + chunk);
        other.copy(file, program);
      },
    ],
  ];
  const target = await start(folder, "target", "-incoming", "defer");
  for (const [what, place, change] of damages) {
    const file = Buffer.from(whole);
    change(file);
    expect(file.equals(whole)).toBe(false);
    writeFileSync(path, file);
    await expect(target.execute("migrate-incoming", { uri, "exit-on-error": false }), what).rejects.toThrow(
      `damaged: RAM block 'ram0' is not what was written, in the 1048576 bytes at offset ${place}`,
    );
    expect((await target.status()).status, what).toBe("inmigrate");
    expect(readRam(join(folder, "ram-target")).equals(Buffer.alloc(ramSize)), what).toBe(true);
  }
  writeFileSync(path, whole);
  await target.execute("migrate-incoming", { uri, "exit-on-error": false });
  await target.untilMigration("completed");
  expect(await target.status()).toMatchObject({ running: true });
});

it.each<{ names: readonly string[] }>([
  { names: [] },
  { names: ["mapped-ram"] },
  { names: ["mapped-ram", "multifd"] },
  { names: ["x-ignore-shared"] },
])("both sides tell the same of how much was copied, with the capabilities $names", async ({ names }) => {
  const folder = scratchFolder();
  const uri = `file:${join(folder, "vm.state")}`;
  const inPlace = names.includes("x-ignore-shared");
  const begin = async (name: string, ram: string, ...options: string[]): Promise<QmpProcess> => {
    const object = `memory-backend-file,id=ram0,size=${ramSize},mem-path=${join(folder, ram)},share=on`;
    const started = await QmpProcess.start({ folder, name, options: ["-object", object, ...options] });
    await started.setParameters({ mode: "cpr-reboot" });
    await started.setCapabilities(...names);
    return started;
  };
  const figures = async (process: QmpProcess): Promise<Record<string, number>> =>
    (await process.untilMigration("completed")).ram as unknown as Record<string, number>;
  const source = await begin("source", "ram-source");
  await source.untilPrinted("B");
  await source.execute("migrate", { uri });
  const sent = await figures(source);
  const [normal, duplicate] = [sent["normal"] as number, sent["duplicate"] as number];
  expect(normal + duplicate).toBe(inPlace ? 0 : ramSize / page);
  expect(sent).toMatchObject({
    total: ramSize,
    remaining: 0,
    transferred: normal * page,
    "normal-bytes": normal * page,
    "multifd-bytes": names.includes("multifd") ? normal * page : 0,
    "x-in-place": inPlace ? ramSize : 0,
  });
  await source.quit();
  const target = await begin("target", inPlace ? "ram-source" : "ram-target", "-incoming", "defer");
  await target.execute("migrate-incoming", { uri });
  expect(await figures(target)).toMatchObject({
    ...{ normal, duplicate, total: ramSize, remaining: 0 },
    "x-in-place": sent["x-in-place"],
  });
});

it("RAM into which pages were copied does not belong to the checkpoint any more that it was left in place for", async () => {
  const folder = scratchFolder();
  const object = [
    "-object",
    `memory-backend-file,id=ram0,size=${ramSize},mem-path=${join(folder, "ram-kept")},share=on`,
  ];
  const kept = `file:${join(folder, "kept.state")}`;
  const first = await QmpProcess.start({ folder, name: "first", options: object });
  await first.setParameters({ mode: "cpr-reboot" });
  await first.setCapabilities("x-ignore-shared");
  await first.untilPrinted("B");
  await first.execute("migrate", { uri: kept });
  await first.untilMigration("completed");
  await first.quit();
  const copy = `file:${join(folder, "copy.state")}`;
  await save(folder, copy);
  const second = await QmpProcess.start({ folder, name: "second", options: [...object, "-incoming", "defer"] });
  await second.setParameters({ mode: "cpr-reboot" });
  await second.setCapabilities(...capabilities);
  await second.execute("stop");
  await second.execute("migrate-incoming", { uri: copy });
  await second.untilMigration("completed");
  // It has not run, so that nothing else has parted the two. The file's time of modification would tell too, if it is kept.
  expect(existsSync(join(folder, "ram-kept.cpr"))).toBe(false);
  expect((await second.status()).status).toBe("paused");
  await second.quit();
  const third = await QmpProcess.start({ folder, name: "third", options: [...object, "-incoming", "defer"] });
  await third.setParameters({ mode: "cpr-reboot" });
  await third.setCapabilities("x-ignore-shared");
  await expect(third.execute("migrate-incoming", { uri: kept, "exit-on-error": false })).rejects.toMatchObject({
    code: "ERR_CPR_RAM_MOVED_ON",
  });
});
