import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { cprCommand, FileLines } from "../tools/cpr-process.ts";
import { guestAssets } from "../tools/guest-assets.ts";
import { ensureQemu } from "./peers/machines.ts";
import { QmpProcess } from "./peers/qmp-process.ts";
import { median, type Report, since, table } from "./report.ts";

/** How RAM lies in the checkpoint, and who writes it. */
interface Layout {
  /** For the table. */
  readonly name: string;
  readonly capabilities: readonly string[];
  readonly channels?: number;
}

const layouts: readonly Layout[] = [
  { name: "plain stream", capabilities: [] },
  { name: "mapped-ram", capabilities: ["mapped-ram"] },
  ...[1, 2, 4].map((channels) => ({
    name: `mapped-ram, multifd, ${channels} channel${channels === 1 ? "" : "s"}`,
    capabilities: ["mapped-ram", "multifd"],
    channels,
  })),
];

/** A guest whose RAM is copied. */
interface Guest {
  readonly title: string;
  readonly mebibytes: number;
  /** The options that both machines have. */
  readonly options: readonly string[];
  /** Waits until it is as far as it is to be. */
  ready(): Promise<void>;
}

/** Milliseconds. */
interface Copy {
  readonly save: number;
  readonly load: number;
}

type Start = (guest: Guest, more: readonly string[]) => QmpProcess;

const startCpr: Start = ({ options }, more) =>
  new QmpProcess([cprCommand, "run", "-accel", "interp", "-name", "ram-copy", ...options, ...more], process.execPath);

const startQemu: Start = ({ options }, more) =>
  new QmpProcess([
    ...["-accel", "tcg", "-machine", "microvm,acpi=off,isa-serial=on,memory-backend=ram0", "-nodefaults"],
    ...["-display", "none", ...options, ...more],
  ]);

/** Saves a guest with all of its RAM and loads it in a new process. */
async function copy(start: Start, guest: Guest, layout: Layout, state: string): Promise<Copy> {
  try {
    const save = await withMachine(start(guest, []), layout, async (machine) => {
      await guest.ready();
      return timed(machine, "migrate", `file:${state}`);
    });
    const load = await withMachine(start(guest, ["-incoming", "defer"]), layout, (machine) =>
      timed(machine, "migrate-incoming", `file:${state}`),
    );
    return { save, load };
  } finally {
    rmSync(state, { force: true });
  }
}

async function withMachine(
  machine: QmpProcess,
  { capabilities, channels }: Layout,
  run: (machine: QmpProcess) => Promise<number>,
): Promise<number> {
  await machine.ready();
  try {
    await machine.command("migrate-set-capabilities", {
      capabilities: capabilities.map((capability) => ({ capability, state: true })),
    });
    await machine.command("migrate-set-parameters", {
      mode: "cpr-reboot",
      // As good as none; QEMU begins with 128 MiB/s.
      "max-bandwidth": 2 ** 50,
      ...(channels === undefined ? {} : { "multifd-channels": channels }),
    });
    return await run(machine);
  } finally {
    await machine.quit();
  }
}

async function timed(machine: QmpProcess, command: string, uri: string): Promise<number> {
  const begin = performance.now();
  await machine.command(command, { uri });
  const isOver = ({ status, "error-desc": reason }: Record<string, unknown>): boolean => {
    if (status === "failed") throw new Error(`${command}: ${String(reason)}`);
    return status === "completed";
  };
  await machine.until("query-migrate", isOver, 2);
  return since(begin);
}

/** A guest that never ran, all of whose RAM has been used by something that cannot be compressed or left out. */
async function usedGuest(folder: string): Promise<Guest> {
  const { kernel } = await guestAssets();
  const mebibytes = 4096;
  const ram = join(folder, "ram");
  const piece = randomFillSync(Buffer.alloc(64 << 20));
  const descriptor = openSync(ram, "w");
  for (let done = 0; done < mebibytes; done += 64) writeSync(descriptor, piece);
  closeSync(descriptor);
  return {
    title: "4 GiB, all pages used",
    mebibytes,
    options: [
      ...["-m", "4G", "-object", `memory-backend-file,id=ram0,size=4G,mem-path=${ram},share=on`, "-S"],
      ...["-kernel", kernel, "-serial", "null"],
    ],
    ready: async () => undefined,
  };
}

/** A Linux that has started and waits. */
async function idleGuest(folder: string): Promise<Guest> {
  const { kernel, initramfs } = await guestAssets();
  const console = join(folder, "console");
  return {
    title: "8 GiB, an idle Linux",
    mebibytes: 8192,
    options: [
      ...["-m", "8G", "-object", "memory-backend-ram,id=ram0,size=8G", "-kernel", kernel, "-initrd", initramfs],
      ...["-append", "console=ttyS0 cryptomgr.notests", "-serial", `file:${console}`],
    ],
    ready: async () => {
      await new FileLines(console).until((line) => (line.startsWith("tick 1 ") ? true : undefined), 120);
    },
  };
}

const guests: Readonly<Record<string, (folder: string) => Promise<Guest>>> = {
  used: usedGuest,
  idle: idleGuest,
};

/** Saves and loads with all RAM in the checkpoint, on tmpfs, beside QEMU's. */
export async function ramCopy(rounds: number, parts: readonly string[]): Promise<Report> {
  await ensureQemu();
  const rows: string[][] = [];
  for (const name of parts.length === 0 ? Object.keys(guests) : parts) {
    const make = guests[name];
    if (make === undefined) throw new Error(`'${name}' is none of ${Object.keys(guests).join(", ")}`);
    const folder = mkdtempSync("/dev/shm/cpr-bench-");
    try {
      const guest = await make(folder);
      for (const layout of layouts) rows.push(await compare(guest, layout, join(folder, "state"), rounds));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return {
    title: "All RAM in the checkpoint: milliseconds (medians), and how many times as fast cpr is",
    text: table(["guest", "layout", "save, cpr", "save, QEMU", "times", "load, cpr", "load, QEMU", "times"], rows),
  };
}

/** The row of one guest and layout. The machines take turns, so that what else the host does concerns both. */
async function compare(guest: Guest, layout: Layout, state: string, rounds: number): Promise<string[]> {
  const ours: Copy[] = [];
  const theirs: Copy[] = [];
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await copy(startCpr, guest, layout, state));
    theirs.push(await copy(startQemu, guest, layout, state));
  }
  const figures = (part: keyof Copy): string[] => {
    const [mine, other] = [ours, theirs].map((all) => median(all.map((each) => each[part]))) as [number, number];
    const rate = (milliseconds: number): string =>
      `${milliseconds.toFixed(0)} (${((guest.mebibytes / milliseconds) * (1000 / 1024)).toFixed(2)} GiB/s)`;
    return [rate(mine), rate(other), `${(other / mine).toFixed(2)}`];
  };
  return [guest.title, layout.name, ...figures("save"), ...figures("load")];
}
