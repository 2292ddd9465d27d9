import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { InitramfsEntry } from "../../../tools/initramfs.ts";

/** What all drivers of virtio need, in the order in which they need each other. */
const virtioModules = [
  "virtio/virtio_ring",
  "virtio/virtio",
  "virtio/virtio_pci_modern_dev",
  "virtio/virtio_pci_legacy_dev",
  "virtio/virtio_pci",
] as const;
/** The drivers of a disk on virtio. */
export const diskModules = [...virtioModules, "block/virtio_blk"] as const;
/** The drivers of a network card on virtio. */
export const networkModules = [...virtioModules, "../net/core/failover", "net/net_failover", "net/virtio_net"] as const;

const moduleFile = (name: string): string => `${name.split("/").at(-1)}.ko`;

/** Modules of a kernel, named by their place below `drivers`, for an initramfs. */
export function moduleEntries(folder: string, names: readonly string[]): InitramfsEntry[] {
  return names.map((name) => ({
    path: moduleFile(name),
    kind: "file",
    data: readFileSync(join(folder, "kernel", "drivers", `${name}.ko`)),
  }));
}

/** The line of a script that loads them. */
export const loadModules = (names: readonly string[]): string =>
  `for each in ${names.map(moduleFile).join(" ")}; do insmod /$each || echo "no module $each"; done`;
