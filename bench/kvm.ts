import { buildGuestProgram } from "@cpr/guest-programs";
import { bundlePackages } from "../tools/bundle.ts";
import { runLab } from "../tools/lab/lab-host.ts";
import { calibrate } from "./calibration.ts";
import { partNames } from "./devices/figures.ts";
import type { Report } from "./report.ts";

/**
 * Figures of the KVM backend beside QEMU's, all in one lab host: those that `parts` names, or all but those of devices if it is empty; see
 * kvm/inside.ts.
 */
export async function kvm(rounds: number, parts: readonly string[]): Promise<Report> {
  await bundlePackages();
  // The lab host has no compiler.
  for (const name of ["exits", "spin"] as const) buildGuestProgram(name);
  const lines: string[] = [];
  const hasDevices = parts.some((part) => partNames.includes(part));
  const loop = calibrate();
  const { status, reason } = await runLab({
    name: "bench-kvm",
    host: { debianDisk: hasDevices },
    script: `exec node bench/kvm/inside.ts ${rounds} ${parts.join(" ")}\n`,
    programs: [],
    interactive: false,
    seconds: hasDevices ? 3000 : 1800,
    output: (line) => {
      console.error(line);
      lines.push(line);
    },
  });
  if (status !== 0)
    throw new Error(`The lab host did not take the figures: ${status === undefined ? reason : `status ${status}`}`);
  return {
    title: `KVM, in the lab host; the calibrating loop takes ${loop.toFixed(0)} ms on this machine`,
    text: lines
      .filter((line) => !line.startsWith("lab: "))
      .join("\n")
      .trim(),
  };
}
