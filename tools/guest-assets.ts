import { existsSync } from "node:fs";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { unpackDebianPackages } from "./debian-archive.ts";
import { belowUsr, type DebianKernel, debianKernel } from "./debian-kernel.ts";
import { type InitramfsEntry, initramfs } from "./initramfs.ts";
import { root } from "./workspace.ts";

/** A stock Debian kernel and a userland for it, unpacked into the cache; nothing of it is installed. */
export interface GuestAssets extends DebianKernel {
  /** The path of a statically linked busybox. */
  readonly busybox: string;
  /** The path of the counting initramfs: {@link countingInit} and busybox, uncompressed. */
  readonly initramfs: string;
}

/** The first line that the initramfs prints: from here on, userspace runs. */
export const firstLine = "cpr guest: userspace is up";

/** What the initramfs prints when the guest has suspended itself to RAM and was woken. */
export const awakeLine = "cpr guest: awake again";

/** Parses one of the lines that the counting initramfs prints each second, or the guest program `counter`, which adds a sum. */
export function parseTick(line: string): { readonly tick: number; readonly uptime: number } | undefined {
  const match = /^tick (\d+) uptime (\d+\.\d+)(?: check \w+)?\r?$/.exec(line);
  return match === null ? undefined : { tick: Number(match[1]), uptime: Number(match[2]) };
}

/**
 * `/init` of the counting guest: says that it runs, then counts the seconds beside the kernel's uptime. A line on the
 * console is run as a command; `poweroff` and `reboot` go to the kernel at once. With `cpr.end=poweroff`,
 * `cpr.end=reboot` or `cpr.end=suspend` on the kernel's command line, it does that by itself after two lines; with `cpr.run=COMMAND`,
 * it runs that first.
 */
export const countingInit = `#!/bin/busybox sh
echo "${firstLine}"
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
read -r parameters </proc/cmdline
case "$parameters" in
  *cpr.run=*) command=\${parameters##*cpr.run=} && \${command%% *} ;;
esac
tick=0
while :; do
  read -r uptime idle </proc/uptime
  echo "tick $tick uptime $uptime"
  tick=$((tick + 1))
  case "$tick:$parameters" in
    2:*cpr.end=poweroff*) poweroff -f ;;
    2:*cpr.end=reboot*) reboot -f ;;
    2:*cpr.end=suspend*) echo mem >/sys/power/state && echo "${awakeLine}" ;;
  esac
  read -r -t 1 command
  case "$command" in
    "") ;;
    poweroff | reboot) "$command" -f ;;
    *) sh -c "$command" ;;
  esac
  command=
done
`;

/** What of busybox a small guest has use for. */
const applets = (
  "cat clear cp cut date dd df dmesg echo env false find free grep gunzip gzip head hexdump hostname id insmod kill ln ls " +
  "lsmod md5sum mkdir mknod mount mv nproc poweroff printf ps pwd reboot rm rmdir sed seq sh sha256sum sleep sort stty " +
  "switch_root sync tail test time top touch tr true umount uname uptime vi wc xargs yes"
).split(" ");

/**
 * An initramfs with busybox, the console device, and the given script as `/init`; `more` adds to it, or replaces entries of
 * the same path.
 */
export function busyboxInitramfs(busybox: Uint8Array, init: string, more: readonly InitramfsEntry[] = []): Uint8Array {
  return initramfs([
    { path: "init", kind: "file", data: init, mode: 0o755 },
    { path: "bin/busybox", kind: "file", data: busybox, mode: 0o755 },
    ...applets.map((name): InitramfsEntry => ({ path: `bin/${name}`, kind: "link", target: "busybox" })),
    ...["proc", "sys", "tmp"].map((path): InitramfsEntry => ({ path, kind: "folder" })),
    // The kernel opens it for /init before devtmpfs is there.
    { path: "dev/console", kind: "character-device", major: 5, minor: 1 },
    { path: "dev/null", kind: "character-device", major: 1, minor: 3 },
    ...more,
  ]);
}

/**
 * Kernel, modules, busybox and initramfs from Debian's archive, by way of a cache: the archive is asked the first time only.
 *
 * @throws {DebianArchiveError} the first time, when no archive can be reached
 */
export async function guestAssets(log: (message: string) => void = () => {}): Promise<GuestAssets> {
  const kernel = await debianKernel(join(root, ".cache", "guest"), log);
  const folder = dirname(kernel.kernel);
  const busybox = join(folder, "busybox");
  if (!existsSync(busybox)) await fetchBusybox(busybox, log);

  // Made anew when the script or the list of applets has changed; renamed, so that a guest that starts meanwhile reads one whole file.
  const archive = busyboxInitramfs(await readFile(busybox), countingInit);
  const initramfsFile = join(folder, "initramfs.cpio");
  if (!existsSync(initramfsFile) || !(await readFile(initramfsFile)).equals(archive)) {
    const temporary = `${initramfsFile}.${process.pid}`;
    await writeFile(temporary, archive);
    await rename(temporary, initramfsFile);
  }
  return { ...kernel, busybox, initramfs: initramfsFile };
}

/** Fetches a statically linked busybox. */
async function fetchBusybox(path: string, log: (message: string) => void): Promise<void> {
  log("Fetching busybox-static from Debian's archive ...");
  const unpacked = await mkdtemp(`${path}-`);
  try {
    await unpackDebianPackages(["busybox-static"], unpacked);
    await rename(belowUsr(unpacked, "bin/busybox"), path);
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
}

if (import.meta.main) console.log(await guestAssets(console.error));
