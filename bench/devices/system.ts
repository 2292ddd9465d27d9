import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cprCommand } from "../../tools/cpr-process.ts";
import { SystemConsole } from "../../tools/system-console.ts";
import type { TapNetwork } from "../../tools/tap-network.ts";
import { since } from "../report.ts";

export const mebibyte = 2 ** 20;
/** RAM of the guest, in MiB. */
export const memory = 512;
/** The size of the disk that is measured, in bytes. */
export const diskSize = 128 * mebibyte;

/** Where figures are taken, and of what. */
export interface Setting {
  /** What both execute their guest with. */
  readonly execution: { readonly cpr: string; readonly qemu: string };
  readonly kernelVersion: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  /** The disk that the system is on; {@link prepareDisk} is called before each use. */
  readonly disk: string;
  prepareDisk(): Promise<void>;
  /** Where files are that have to be on tmpfs. */
  readonly folder: string;
  /** Undefined where no tap can be made. */
  readonly network: TapNetwork | undefined;
  /** How much is transferred, of what is on a machine of its own: 1 or less. */
  readonly share: number;
}

/** What is measured: one of the two. */
export interface Machine {
  readonly name: string;
  readonly words: readonly string[];
}

/** The same guest on both: a system on one disk, another disk to measure, two consoles. RAM is a file, to tell it from the rest. */
export function machines(setting: Setting): readonly [Machine, Machine] {
  const { execution, kernel, initrd, append, disk, folder, network } = setting;
  const path = (name: string): string => join(folder, name);
  const address =
    network && `net.ifnames=0 ip=${network.guestAddress}::${network.hostAddress}:${network.mask}::eth0:none`;
  const guest = [
    ...["-m", `${memory}M`],
    ...["-object", `memory-backend-file,id=ram0,size=${memory}M,mem-path=${path("ram0")},share=on`],
    ...["-kernel", kernel, "-initrd", initrd, "-append", `${append} ${address ?? ""} cryptomgr.notests quiet`],
    ...["-drive", `file=${disk},format=raw,if=virtio`],
    ...["-drive", `file=${path("measured.img")},format=raw,if=virtio`],
    ...["-device", "virtio-serial-pci", "-chardev", `socket,id=hvc0,path=${path("hvc0")},server=on,wait=off`],
    ...["-device", "virtconsole,chardev=hvc0", "-serial", `unix:${path("com1")},server=on,wait=off`],
    ...["-monitor", "none"],
  ];
  const tap = network && ["-netdev", `tap,id=n0,ifname=${network.device},script=no,downscript=no`, "-device"];
  const own = [process.execPath, cprCommand, "run", "-accel", execution.cpr, ...guest];
  const qemu = [
    ...["qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", execution.qemu],
    ...["-M", "q35,memory-backend=ram0", ...(execution.qemu === "kvm" ? ["-cpu", "host"] : []), ...guest],
  ];
  return [
    { name: `cpr (${execution.cpr})`, words: [...own, ...(tap ? [...tap, "virtio-net-pci,netdev=n0"] : [])] },
    {
      name: `QEMU (${execution.qemu}), q35`,
      // Without the program to boot from the network.
      words: [...qemu, ...(tap ? [...tap, "virtio-net-pci,netdev=n0,romfile="] : [])],
    },
  ];
}

/** A system that has booted and is measured. */
export class MeasuredSystem implements AsyncDisposable {
  readonly setting: Setting;
  readonly #child: ChildProcess;
  readonly #shell: SystemConsole;

  private constructor(setting: Setting, child: ChildProcess, shell: SystemConsole) {
    this.setting = setting;
    this.#child = child;
    this.#shell = shell;
  }

  /** Boots a machine's guest to the end of its start. */
  static async boot(setting: Setting, { words }: Machine): Promise<MeasuredSystem> {
    await setting.prepareDisk();
    writeFileSync(join(setting.folder, "measured.img"), "");
    truncateSync(join(setting.folder, "measured.img"), diskSize);
    const child = spawn(words[0] as string, words.slice(1), { stdio: ["ignore", "ignore", "inherit"] });
    try {
      const shell = await SystemConsole.connect(join(setting.folder, "com1"));
      await shell.logIn(1200);
      await shell.ask("systemctl is-system-running --wait", 600);
      return new MeasuredSystem(setting, child, shell);
    } catch (error) {
      await end(child);
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** So much of an amount as is transferred here, a multiple of `unit`. */
  share(amount: number, unit: number): number {
    return Math.max(1, Math.round((amount * this.setting.share) / unit)) * unit;
  }

  /** Has a command done in the guest, which must succeed. */
  async ask(command: string): Promise<void> {
    await this.#shell.ask(command, 1200);
  }

  /** The same, and how many seconds that took. */
  async seconds(command: string): Promise<number> {
    const start = performance.now();
    await this.ask(command);
    return since(start) / 1000;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell.close();
    await end(this.#child);
  }
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
}
