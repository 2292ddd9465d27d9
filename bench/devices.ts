import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cprCommand } from "../tools/cpr-process.ts";
import { copyDisk, type DebianImage, debianImage } from "../tools/debian-image.ts";
import { processorTime } from "../tools/processor-time.ts";
import { SystemConsole } from "../tools/system-console.ts";
import { ensureQemu } from "./peers/machines.ts";
import { median, type Report, since, table } from "./report.ts";

const mebibyte = 2 ** 20;
/** RAM of the guest, in MiB. */
const memory = 512;

/** What is measured, in the order of the table's columns. */
const figures = {
  write: "sequential write, MiB/s",
  read: "sequential read, MiB/s",
  randomRead: "4 KiB random read, 1/s",
  randomWrite: "4 KiB random write, 1/s",
  serial: "serial port, KiB/s",
  virtio: "console of virtio, KiB/s",
  idle: "idle, % of a core",
  overhead: "process beyond RAM, MiB",
} as const;

type Figures = Record<keyof typeof figures, number>;

interface Machine {
  readonly name: string;
  readonly words: readonly string[];
}

/** The same guest on both: a system on one disk, another disk to measure, two consoles. RAM is a file, to tell it from the rest. */
function machines(image: DebianImage, folder: string): Machine[] {
  const path = (name: string): string => join(folder, name);
  const guest = [
    ...["-m", `${memory}M`],
    ...["-object", `memory-backend-file,id=ram0,size=${memory}M,mem-path=${path("ram0")},share=on`],
    ...["-kernel", image.kernel, "-initrd", image.initrd, "-append", `${image.append} cryptomgr.notests quiet`],
    ...["-drive", `file=${path("system.img")},format=raw,if=virtio`],
    ...["-drive", `file=${path("measured.img")},format=raw,if=virtio`],
    ...["-device", "virtio-serial-pci", "-chardev", `socket,id=hvc0,path=${path("hvc0")},server=on,wait=off`],
    ...["-device", "virtconsole,chardev=hvc0", "-serial", `unix:${path("com1")},server=on,wait=off`],
    ...["-monitor", "none"],
  ];
  return [
    { name: "cpr (interp)", words: [process.execPath, cprCommand, "run", "-accel", "interp", ...guest] },
    {
      name: "QEMU (TCG), q35",
      words: [
        ...["qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg"],
        ...["-M", "q35,memory-backend=ram0", ...guest],
      ],
    },
  ];
}

/** 4 KiB at places of `/dev/vdb` that are drawn, so many, each read or durably written before the next. */
const random = (way: "read" | "write", count: number): string =>
  `perl -e 'sysopen(my $d, "/dev/vdb", ${way === "read" ? "0" : "04010001"}) or die; srand 7; my $b = "x" x 4096; ` +
  `for (1 .. ${count}) { sysseek($d, 4096 * int rand 32768, 0); sys${way}($d, $b, 4096) == 4096 or die }'`;

/** Disks, consoles, and what an idle guest costs, beside QEMU. */
export async function devices(rounds: number): Promise<Report> {
  await ensureQemu();
  const image = await debianImage(console.error);
  const results = new Map<string, Figures[]>();
  for (let round = 0; round < rounds; round += 1) {
    const folder = mkdtempSync("/dev/shm/cpr-bench-");
    try {
      for (const machine of machines(image, folder)) {
        await copyDisk(image.disk, join(folder, "system.img"));
        writeFileSync(join(folder, "measured.img"), "");
        truncateSync(join(folder, "measured.img"), 128 * mebibyte);
        results.set(machine.name, [...(results.get(machine.name) ?? []), await measure(machine, folder)]);
        rmSync(join(folder, "ram0"));
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const names = [...results.keys()];
  const middle = (name: string, figure: keyof Figures): number =>
    median((results.get(name) ?? []).map((each) => each[figure]));
  const rows = Object.entries(figures).map(([key, title]) => {
    const values = names.map((name) => middle(name, key as keyof Figures));
    const [ours = Number.NaN, theirs = Number.NaN] = values;
    return [title, ...values.map((value) => value.toFixed(1)), (ours / theirs).toFixed(2)];
  });
  return {
    title: `Devices of virtio, with Debian's ${image.kernelVersion} and systemd, ${memory} MiB, disks on tmpfs (medians)`,
    text: table(["figure", ...names, "cpr / QEMU"], rows),
  };
}

async function measure({ words }: Machine, folder: string): Promise<Figures> {
  const child = spawn(words[0] as string, words.slice(1), { stdio: "ignore" });
  try {
    const shell = await SystemConsole.connect(join(folder, "com1"));
    await shell.logIn(600);
    await shell.ask("systemctl is-system-running --wait", 300);
    const seconds = async (command: string): Promise<number> => {
      const start = performance.now();
      await shell.ask(command, 600);
      return since(start) / 1000;
    };
    const transfer = (from: string, to: string): string =>
      `dd if=${from} of=${to} bs=1M count=128 status=none ${to === "/dev/vdb" ? "oflag" : "iflag"}=direct`;
    const write = 128 / (await seconds(transfer("/dev/zero", "/dev/vdb")));
    const read = 128 / (await seconds(transfer("/dev/vdb", "/dev/null")));
    await shell.ask("echo 0 >/sys/block/vdb/queue/read_ahead_kb; echo 1 >/proc/sys/vm/drop_caches");
    const randomRead = 2000 / (await seconds(random("read", 2000)));
    const randomWrite = 1000 / (await seconds(random("write", 1000)));
    const text = (size: number): string => `head -c ${size} /dev/zero | tr '\\0' x`;
    const serial = 64 / (await seconds(text(65_536)));
    const console = await SystemConsole.connect(join(folder, "hvc0"));
    const virtio = 1024 / (await seconds(`${text(mebibyte)} >/dev/hvc0`));
    console.close();
    await delay(5000);
    const [before, start] = [processorTime(child.pid as number), performance.now()];
    await delay(10_000);
    const idle = (100 * (processorTime(child.pid as number) - before)) / (since(start) / 1000);
    const overhead = residentBeside(child, join(folder, "ram0")) / 1024;
    shell.close();
    return { write, read, randomRead, randomWrite, serial, virtio, idle, overhead };
  } finally {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "close");
  }
}

/** What of a process is in memory, apart from its mappings of a file, in KiB (proc_pid_smaps(5)). */
function residentBeside({ pid }: ChildProcess, file: string): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings
    .filter((mapping) => !mapping.split("\n", 1)[0]?.endsWith(file))
    .reduce((sum, mapping) => sum + Number(/^Rss:\s+(\d+)/m.exec(mapping)?.[1] ?? 0), 0);
}
