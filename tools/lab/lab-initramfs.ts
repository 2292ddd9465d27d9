import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { DebianKernel } from "../debian-kernel.ts";
import { busyboxInitramfs, type GuestAssets } from "../guest-assets.ts";
import type { InitramfsEntry } from "../initramfs.ts";
import { checkoutEntries } from "./checkout-entries.ts";
import { loadModules, moduleEntries } from "./kernel-modules.ts";
import { systemFolder } from "./systemd-image.ts";

/** The name of the port through which the lab host tells this machine what a scenario says and how it ended. */
export const channelName = "lab.channel";

/** Where the drivers are in the lab host. */
const modulePlace = "lab/modules";

/** Where the checkout is in the lab host. */
const checkout = "cpr";

/** The drivers of the lab host's devices, and KVM for AMD's processors. */
const modules = [
  "virtio_pci",
  "virtio_blk",
  "virtio_console",
  // Of the guest's devices, too.
  "virtio_net",
  "virtio-rng",
  "tun",
  "kvm-amd",
  "nfit",
  "nd_pmem",
  "device_dax",
  "dax_pmem",
  "kmem",
];

/**
 * `/init` of the lab host: drivers, the system image at `/usr`, then {@link labRun}. Where systemd is the init, the root is its
 * disk, the system image is a folder of that, and systemd runs the task.
 */
export const labInit = `#!/bin/busybox sh
export PATH=/bin:/usr/bin:/usr/sbin:/lab/programs HOME=/root TERM=linux
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs -o size=75% tmpfs /dev/shm
ip link set lo up
${loadModules(modulePlace)}
mount -t ext4 -o ro /dev/vda /usr
if [ -e /lab/systemd ]; then
  mount -t ext4 /dev/vdb /root
  mount -o move /usr /root/${systemFolder}
  for folder in ${checkout} boot lab; do
    mount -o bind "/$folder" "/root/$folder"
  done
  for folder in dev proc sys; do
    mount -o move "/$folder" "/root/$folder"
  done
  cd /root
  mount -o move . /
  exec chroot . /sbin/init
fi
[ ! -b /dev/vdb ] || mount -t ext4 /dev/vdb /var
cd /${checkout}
exec sh /lab/run setsid cttyhack
`;

/**
 * Runs `/lab/task`. What that prints goes through the channel, followed by its exit status. In a lab host that is used from the
 * console it goes there, and a shell follows; the arguments are a command that gives it the console as its terminal.
 */
export const labRun = `if [ -e /lab/interactive ]; then
  sh /lab/task
  echo "lab: this is the lab host; 'poweroff -f' ends it."
  "$@" sh
else
  until port=$(grep -lx ${channelName} /sys/class/virtio-ports/*/name 2>/dev/null); do
    sleep 0.1
  done
  port=\${port%/name}
  exec 3>"/dev/\${port##*/}"
  timeout "$(cat /lab/seconds)" sh /lab/task >&3 2>&3 </dev/null
  echo "lab: the task ended with status $?" >&3
fi
poweroff -f
`;

/** What is in the lab host beside the system image. */
export interface LabContent {
  /** The kernel that it runs, whose modules it needs. */
  readonly kernel: DebianKernel;
  readonly guest: GuestAssets;
  /** Where the disk is a Debian for a guest: what mounts it there. */
  readonly debian?: { readonly initrd: string } | undefined;
  /** Another kernel that it can go over to, and the initramfs for that. */
  readonly second?: { readonly kernel: DebianKernel; readonly initramfs: Uint8Array } | undefined;
  /** Paths of programs of this machine, statically linked, that are to be found by their names. */
  readonly programs: readonly string[];
  /** Whether its init is systemd, on the disk that is made for that. */
  readonly systemd: boolean;
  /** A shell script, run in the checkout. */
  readonly script: string;
  /** How long the script may take, unless somebody sits at the console. The lab host ends then even when nobody waits for it. */
  readonly seconds: number;
  /** Whether somebody sits at the lab host's console. */
  readonly interactive: boolean;
}

/** The lab host's initramfs: busybox, kernel modules, this checkout as it is now, and the assets for a guest in the lab. */
export function labInitramfs(content: LabContent): Uint8Array {
  const { kernel, guest, debian, second, programs, systemd, script, seconds, interactive } = content;
  const file = (path: string, data: Uint8Array | string, mode = 0o644): InitramfsEntry => ({
    path,
    kind: "file",
    data,
    mode,
  });
  const guestFolder = join(checkout, ".cache", "guest", guest.kernelVersion);
  return busyboxInitramfs(readFileSync(guest.busybox), labInit, [
    ...moduleEntries(kernel.modules, modules, modulePlace),
    ...programs.map((path) => file(`lab/programs/${basename(path)}`, readFileSync(path), 0o755)),
    file("lab/programs/cpr", `#!/bin/sh\nexec node /${checkout}/packages/cli/bin/cpr.js "$@"\n`, 0o755),
    file("lab/run", labRun),
    file("lab/task", script),
    file("lab/seconds", `${seconds}\n`),
    ...(interactive ? [file("lab/interactive", "")] : []),
    ...(systemd ? [file("lab/systemd", "")] : []),
    ...(second === undefined
      ? []
      : [file("boot/vmlinuz", readFileSync(second.kernel.kernel)), file("boot/initrd.img", second.initramfs)]),
    ...["root", "usr", "var", "boot"].map((path): InitramfsEntry => ({ path, kind: "folder" })),
    ...["lib", "lib64"].map((path): InitramfsEntry => ({ path, kind: "link", target: `usr/${path}` })),
    ...checkoutEntries(checkout),
    ...[guest.kernel, guest.initramfs, ...(debian === undefined ? [] : [debian.initrd])].map((path) =>
      file(join(guestFolder, basename(path)), readFileSync(path)),
    ),
    file(join(guestFolder, basename(guest.busybox)), readFileSync(guest.busybox), 0o755),
  ]);
}
