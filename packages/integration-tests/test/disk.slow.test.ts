import { createHash } from "node:crypto";
import { readFileSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadModules, moduleEntries } from "../../../tools/lab/kernel-modules.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";

const chunkSize = 256 * 1024;
/** Chunks that are written in turn; behind them, others write and read all the time. */
const chunks = 8;
const diskSize = 16 << 20;

/** Writes chunks, reads them again from the disk, and tells of each what its sum is and whether it was read as it was written. */
const diskInit = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules()}
read -r sectors </sys/block/vda/size
read -r serial </sys/block/vda/serial
read -r cache </sys/block/vda/queue/write_cache
read -r constant </sys/block/vdb/ro
echo "disk of $sectors sectors, serial $serial, $cache; the other one: read-only $constant"
while :; do dd if=/dev/zero of=/dev/vda bs=64k seek=128 count=64 conv=notrunc,fsync 2>/dev/null; done &
while :; do dd if=/dev/vda of=/dev/null bs=128k skip=64 2>/dev/null; echo 1 >/proc/sys/vm/drop_caches; done &
round=0
while :; do
  place=$((round % ${chunks}))
  dd if=/dev/urandom of=/tmp/chunk bs=64k count=4 2>/dev/null
  sum=$(sha256sum </tmp/chunk)
  dd if=/tmp/chunk of=/dev/vda bs=256k seek=$place conv=notrunc,fsync 2>/dev/null || echo "write error"
  echo 1 >/proc/sys/vm/drop_caches
  [ "$(dd if=/dev/vda bs=256k skip=$place count=1 2>/dev/null | sha256sum)" = "$sum" ] && data=same || data=different
  echo "round $round place $place data $data sum $sum"
  round=$((round + 1))
done
`;

interface Round {
  readonly round: number;
  readonly place: number;
  readonly data: string;
  readonly sum: string;
}

function parseRound(line: string): Round | undefined {
  const match = /^round (\d+) place (\d+) data (\w+) sum (\w{64})/.exec(line);
  if (match === null) return undefined;
  const [, round, place, data = "", sum = ""] = match;
  return { round: Number(round), place: Number(place), data, sum };
}

async function describeGuest(): Promise<{ machine: ScratchMachine; disk: string; options: string[] }> {
  const { kernel, busybox, modules } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "256M" });
  const disk = join(machine.state, "..", "disk.raw");
  const initramfs = join(machine.state, "..", "initramfs.cpio");
  writeFileSync(disk, "");
  truncateSync(disk, diskSize);
  const constant = join(machine.state, "..", "constant.raw");
  writeFileSync(constant, Buffer.alloc(1 << 16, "constant"));
  writeFileSync(
    initramfs,
    busyboxInitramfs(readFileSync(busybox), diskInit, moduleEntries(modules, ["virtio_pci", "virtio_blk"])),
  );
  const options = machine.options([
    ...["-accel", "interp", "-initrd", initramfs, "-append", "console=ttyS0 cryptomgr.notests panic=-1"],
    ...["-drive", `file=${disk},format=raw,if=virtio,serial=checked,discard=unmap`],
    ...["-blockdev", `driver=raw,node-name=constant,file.driver=file,file.filename=${constant},read-only=on`],
    ...["-device", "virtio-blk-pci,drive=constant,id=other"],
  ]);
  return { machine, disk, options };
}

async function start(options: readonly string[]): Promise<CprProcess> {
  const process = new CprProcess(options);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  return process;
}

/** Saves the guest, and ends its process. */
async function save(process: CprProcess, { state }: ScratchMachine): Promise<void> {
  await process.chooseReboot();
  expect(await process.command(`migrate -d file:${state}`)).toBe("");
  await expect.poll(() => process.command("info status"), { timeout: 60_000 }).toBe("VM status: paused (postmigrate)");
}

describe("a disk of Debian's kernel", () => {
  it("has what the guest wrote, wherever checkpoints come in between", { timeout: 900_000 }, async () => {
    const { machine, disk, options } = await describeGuest();
    let process = await start(options);
    const lines = new FileLines(machine.console);
    expect(await lines.until((line) => /^disk of .*/.exec(line)?.[0].trim(), 180)).toBe(
      `disk of ${diskSize / 512} sectors, serial checked, write back; the other one: read-only 1`,
    );
    const blocks = (await process.command("info block")).split("\n").map((line) => line.trim());
    expect(blocks.filter((line) => !line.startsWith("Cache mode"))).toEqual([
      expect.stringMatching(/^constant: .*constant\.raw \(raw, read-only\)$/),
      "Attached to:      other",
      `virtio0: ${disk} (raw)`,
      "Attached to:      virtio0",
    ]);
    const seen = [await lines.until(parseRound, 180), await lines.until(parseRound, 180)];

    const other = new CprProcess([...options.slice(4), "-m", "256M"]);
    expect(await other.ended).toMatchObject({
      status: 5,
      stderr: expect.stringContaining('Failed to get "write" lock'),
    });

    for (let moved = 0; moved < 3; moved++) {
      await save(process, machine);
      const next = await start([...options, "-incoming", "defer"]);
      await next.chooseReboot();
      await process.quit();
      expect(await next.command(`migrate_incoming file:${machine.state}`)).toBe("");
      process = next;
      const fresh = new FileLines(machine.console);
      for (let count = 0; count < 2; count++) seen.push(await fresh.until(parseRound, 180));
    }

    // What was flushed is in the image, whatever becomes of the process.
    await process.command("stop");
    process.kill("SIGKILL");
    await process.ended;
    const text = readFileSync(machine.console, "latin1");
    const rounds = text.split(/\r?\n/).flatMap((line) => parseRound(line) ?? []);
    const last = rounds.slice(-(chunks - 1));
    const image = readFileSync(disk);
    for (const { place, sum } of last) {
      const chunk = image.subarray(place * chunkSize, (place + 1) * chunkSize);
      expect(createHash("sha256").update(chunk).digest("hex")).toBe(sum);
    }
    expect(seen.every(({ data }) => data === "same")).toBe(true);
    expect(text).not.toMatch(
      /data different|write error|no module|I\/O error|WARNING:|BUG:|Call Trace|Oops|blk_update|reset/,
    );
  });

  it("that has changed since the checkpoint keeps it from being loaded, and a reset is no change", {
    timeout: 900_000,
  }, async () => {
    const { machine, disk, options } = await describeGuest();
    const first = await start(options);
    const lines = new FileLines(machine.console);
    await lines.until(parseRound, 240);
    // In the midst of its work; the device begins anew with the guest.
    expect(await first.command("system_reset")).toBe("");
    await lines.until((line) => /^disk of /.test(line) || undefined, 240);
    await lines.until(parseRound, 240);
    await save(first, machine);
    await first.quit();
    utimesSync(disk, new Date(), new Date());
    const second = await start([...options, "-incoming", "defer"]);
    await second.chooseReboot();
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toMatch(
      /\(virtio0\) has changed since the checkpoint was written: it was modified/,
    );
    expect(await second.command("migrate_set_parameter x-accept-changed-files virtio0")).toBe("");
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
    await new FileLines(machine.console).until(parseRound, 240);
  });
});
