/**
 * `npm run image [-- PATH]`: makes a disk with Debian on it, a system as people run it, and tells how to boot it. With a path, a
 * copy of the disk is left there for the guest to write to.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { DebianArchiveError, ensureDebianPackages, releaseName, writeReleaseSources } from "./debian-archive.ts";
import { busyboxInitramfs, guestAssets } from "./guest-assets.ts";
import { loadModules, moduleEntries } from "./lab/kernel-modules.ts";
import { root } from "./workspace.ts";

const run = promisify(execFile);

/** A Debian system on a disk, and the kernel that boots it. */
export interface DebianImage {
  readonly kernelVersion: string;
  readonly kernel: string;
  /** An initramfs that mounts the disk and goes over to it. */
  readonly initrd: string;
  /** The disk: an ext4 file system, without a partition table. It is shared by all who ask for it, and not to be written to. */
  readonly disk: string;
  /** The kernel's command line, with the console on the serial port. */
  readonly append: string;
}

/**
 * Beside what every Debian has: systemd with its network and resolver, a downloader, QEMU's guest agent. `usr-is-merged` is there so that
 * `usrmerge`, which needs all of Perl, is not.
 */
const packages =
  "usr-is-merged systemd-sysv systemd-resolved dbus udev kmod login mount e2fsprogs procps iproute2 wget qemu-guest-agent".split(
    " ",
  );

/** The modules that the initramfs needs to get at the disk; ext4 is built into the kernel. */
const diskModules = ["virtio_pci", "virtio_blk"];

/** Mounts the file system that `root=` names, the first virtio disk if none is named, and starts its init. */
const diskInit = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules()}
root=/dev/vda
init=/sbin/init
mode=rw
for word in $(cat /proc/cmdline); do
  case "$word" in
    root=*) root=\${word#root=} ;;
    init=*) init=\${word#init=} ;;
    ro | rw) mode=$word ;;
  esac
done
tries=0
until [ -b "$root" ] || [ $tries -ge 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
mkdir /root
if ! mount -t ext4 -o "$mode" "$root" /root; then
  echo "The root file system could not be mounted from $root. This is a shell in the initramfs."
  exec sh
fi
umount /dev /sys /proc
exec switch_root /root "$init"
`;

const systemUnits = "etc/systemd/system";

/** What the image has beyond its packages. */
const files = (release: string): ReadonlyMap<string, string> =>
  new Map([
    ["etc/hostname", "debian\n"],
    ["etc/hosts", "127.0.0.1 localhost debian\n::1 localhost debian\n"],
    // Empty: each system that boots from a copy of the disk gives itself an identity.
    ["etc/machine-id", ""],
    ["etc/fstab", "/dev/vda / ext4 defaults,errors=remount-ro 0 1\n"],
    [
      "etc/apt/sources.list",
      [
        `deb http://deb.debian.org/debian ${release} main\n`,
        `deb http://deb.debian.org/debian ${release}-updates main\n`,
        `deb http://deb.debian.org/debian-security ${release}-security main\n`,
      ].join(""),
    ],
    // By DHCP. What systemd-network-generator(8) makes of ip= on the kernel command line comes before it, as 90 or 91.
    ["etc/systemd/network/95-ethernet.network", "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n"],
    // The console of virtio is found when its module is loaded: later than systemd looks for consoles.
    [
      "etc/udev/rules.d/90-virtio-console.rules",
      'SUBSYSTEM=="tty", KERNEL=="hvc0", TAG+="systemd", ENV{SYSTEMD_WANTS}+="serial-getty@hvc0.service"\n',
    ],
    ["etc/issue", `Debian ${release} \\n \\l (root has no password)\n\n`],
  ]);

const masked = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service";

const links: ReadonlyMap<string, string> = new Map([
  [`${systemUnits}/multi-user.target.wants/systemd-networkd.service`, "/lib/systemd/system/systemd-networkd.service"],
  [
    `${systemUnits}/sysinit.target.wants/systemd-network-generator.service`,
    "/lib/systemd/system/systemd-network-generator.service",
  ],
  ["etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf"],
  // Nothing that a timer begins by itself disturbs a guest that is watched.
  ...masked.split(" ").map((unit): [string, string] => [`${systemUnits}/${unit}`, "/dev/null"]),
]);

/** The size of the disk; the file has holes, and takes up what is used of it. */
const diskSize = "2G";

/**
 * The image, made the first time, or anew when something that goes into it has changed. Root or not: without root, user namespaces
 * must be allowed (package uidmap).
 *
 * @throws {DebianArchiveError} the first time, when no archive can be reached
 */
export async function debianImage(log: (message: string) => void = () => {}): Promise<DebianImage> {
  const assets = await guestAssets(log);
  const release = await releaseName();
  // What the disk is made of is told here, in this file.
  const recipe = [release, assets.kernelVersion, await readFile(import.meta.filename, "utf8")];
  const identity = createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 16);
  const cache = dirname(assets.kernel);
  const disk = join(cache, `debian-${release}-${identity}.img`);
  if (!existsSync(disk)) await makeDisk(disk, release, assets.modules, log);
  const initrd = join(cache, "initrd-disk.cpio");
  await writeWhole(initrd, await diskInitramfs(assets.busybox, assets.modules));
  const { kernelVersion, kernel } = assets;
  return { kernelVersion, kernel, initrd, disk, append: "console=ttyS0 root=/dev/vda" };
}

/** Copies a disk with its holes; where the file system can, blocks are shared until one of the copies is written to. */
export async function copyDisk(disk: string, path: string): Promise<void> {
  await run("cp", ["--reflink=auto", "--sparse=always", disk, path]);
  await chmod(path, 0o644);
}

async function diskInitramfs(busybox: string, folder: string): Promise<Uint8Array> {
  return busyboxInitramfs(await readFile(busybox), diskInit, moduleEntries(folder, diskModules));
}

/** Writes a file unless it is there with this content; who reads it meanwhile reads one whole file. */
async function writeWhole(path: string, content: Uint8Array): Promise<void> {
  if (existsSync(path) && (await readFile(path)).equals(content)) return;
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}

async function makeDisk(disk: string, release: string, modules: string, log: (message: string) => void): Promise<void> {
  await ensureDebianPackages(["mmdebstrap", "e2fsprogs"]);
  log("Making a disk with Debian, which takes a minute or two ...");
  const folder = await mkdtemp(`${disk}-`);
  const isRoot = process.getuid?.() === 0;
  const system = join(folder, "system");
  // Without root, files belong to users of a namespace that mmdebstrap makes: only from there are they seen as the guest will see them.
  const inside = (words: readonly string[]): [string, readonly string[]] =>
    isRoot ? [words[0] as string, words.slice(1)] : ["mmdebstrap", ["--unshare-helper", ...words]];
  try {
    // The root of mmdebstrap's namespace, another user, comes by here, and makes and removes the folder of the system.
    await chmod(dirname(folder), 0o755);
    await chmod(folder, isRoot ? 0o755 : 0o777);
    const overlay = join(folder, "overlay");
    await writeOverlay(overlay, release);
    const kernelVersion = basename(dirname(modules));
    const { sources, configuration } = await writeReleaseSources(folder);
    const hooks = [
      `sync-in ${overlay} /`,
      // What mmdebstrap and this machine's apt were told is not the guest's concern.
      'rm -f "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
      `sync-in ${modules} /usr/lib/modules/${kernelVersion}`,
      `chroot "$1" depmod ${kernelVersion}`,
      'chroot "$1" passwd --delete root',
      // NOTE: mmdebstrap can leave these out from the beginning, but takes twice the time for that.
      'cd "$1"/usr/share && rm -rf doc/* info/* locale/* man/*',
    ];
    await run("mmdebstrap", [
      ...[`--mode=${isRoot ? "root" : "unshare"}`, "--variant=apt", `--include=${packages.join(",")}`],
      ...["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", `--aptopt=${configuration}`],
      "--dpkgopt=force-unsafe-io",
      `--customize-hook=mkdir -p "$1"/usr/lib/modules/${kernelVersion}`,
      ...hooks.map((each) => `--customize-hook=${each}`),
      ...[release, system, ...sources],
    ]);
    const image = join(folder, "disk.img");
    await writeFile(image, "");
    await chmod(image, 0o666);
    await run(...inside(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", "debian", "-d", system, image, diskSize]));
    const outdated = (await readdir(dirname(disk))).filter(
      (each) => /^debian-.*\.img$/.test(each) && each !== basename(disk),
    );
    await chmod(image, 0o444);
    await rename(image, disk);
    for (const each of outdated) await rm(join(dirname(disk), each));
  } catch (cause) {
    const { stderr = "" } = cause as { readonly stderr?: string };
    const reason = stderr.split("\n").findLast((line) => line.startsWith("E: ")) ?? "";
    throw new DebianArchiveError(`The disk with Debian could not be made. ${reason}`.trim(), { cause });
  } finally {
    // What cannot be removed is no reason to hide what has happened before.
    await run(...inside(["rm", "-rf", system])).catch(() => undefined);
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function writeOverlay(overlay: string, release: string): Promise<void> {
  const path = async (entry: string): Promise<string> => {
    await mkdir(dirname(join(overlay, entry)), { recursive: true });
    return join(overlay, entry);
  };
  for (const [entry, text] of files(release)) await writeFile(await path(entry), text);
  for (const [entry, target] of links) await symlink(target, await path(entry));
}

if (import.meta.main) {
  const image = await debianImage(console.error).catch((error: unknown) => {
    if (!(error instanceof DebianArchiveError)) throw error;
    console.error(error.message);
    process.exit(1);
  });
  const wanted = process.argv[2];
  const disk = resolve(process.env["INIT_CWD"] ?? ".", wanted ?? join(root, ".cache", "debian.img"));
  if (!existsSync(disk)) await copyDisk(image.disk, disk);
  const near = (path: string): string => relative(process.cwd(), path);
  console.log(`Debian, kernel ${image.kernelVersion}; root has no password.

kernel  ${near(image.kernel)}
initrd  ${near(image.initrd)}
disk    ${near(disk)} (yours to write to; npm run image makes a fresh one when it is gone)

npx cpr run -m 512M -kernel ${near(image.kernel)} -initrd ${near(image.initrd)} \\
    -append "${image.append}" -drive file=${near(disk)},format=raw,if=virtio

docs/debian-guest.md goes on from there.`);
}
