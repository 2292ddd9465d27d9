import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { guestAssets } from "../../tools/guest-assets.ts";
import { makeTapNetwork } from "../../tools/tap-network.ts";
import { figures } from "../devices/figures.ts";
import type { Report } from "../report.ts";

/** What is boring in the lab host, and takes minutes there. */
const withoutDelay =
  "module_blacklist=kvm_amd,kvm,powernow_k8,fuse,loop,drm,dm_mod,efi_pstore systemd.show_status=0 " +
  "systemd.mask=systemd-resolved.service systemd.mask=getty@tty1.service";

/**
 * The figures of `npm run bench -- devices` on KVM, with an eighth of the data: in a lab host whose disk `/dev/vdb` is Debian's (see
 * `LabHost.debianDisk`). The second guest boots from what the first one has left of it.
 */
export async function devices(rounds: number, parts: readonly string[]): Promise<Report> {
  if (!existsSync("/lab")) throw new Error("These figures are for a lab host, whose disk may be written to.");
  // A guest is to have it for itself.
  execFileSync("umount", ["/var"]);
  const { kernel, kernelVersion } = await guestAssets();
  const folder = mkdtempSync("/dev/shm/cpr-bench-");
  const network = await makeTapNetwork();
  try {
    const setting = {
      ...{ kernel, kernelVersion, initrd: join(dirname(kernel), "initrd-disk.cpio") },
      append: `console=ttyS0 root=/dev/vda ${withoutDelay}`,
      ...{ disk: "/dev/vdb", folder, network, share: 1 / 8 },
      execution: { cpr: "kvm", qemu: "kvm" },
      prepareDisk: async () => undefined,
    };
    return await figures(setting, rounds, parts);
  } finally {
    network.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}
