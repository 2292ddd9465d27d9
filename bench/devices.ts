import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { copyDisk, debianImage } from "../tools/debian-image.ts";
import { makeTapNetwork, mayMakeTaps } from "../tools/tap-network.ts";
import { figures } from "./devices/figures.ts";
import { ensureQemu } from "./peers/machines.ts";
import type { Report } from "./report.ts";

/** Disks, consoles, network, and what an idle guest costs, beside QEMU's TCG on this machine. */
export async function devices(rounds: number, only: readonly string[]): Promise<Report> {
  await ensureQemu();
  const image = await debianImage(console.error);
  const folder = mkdtempSync("/dev/shm/cpr-bench-");
  const network = mayMakeTaps() ? await makeTapNetwork() : undefined;
  try {
    const disk = join(folder, "system.img");
    const setting = {
      ...image,
      ...{ disk, folder, network, share: 1 },
      execution: { cpr: "interp", qemu: "tcg" },
      prepareDisk: () => copyDisk(image.disk, disk),
    };
    return await figures(setting, rounds, only);
  } finally {
    network?.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}
