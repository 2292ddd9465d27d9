import { buildGuestProgram } from "@cpr/guest-programs";
import { bundlePackages } from "../tools/bundle.ts";
import { runLab } from "../tools/lab/lab-host.ts";
import type { Report } from "./report.ts";

/** Figures of the KVM backend beside QEMU's, all in one lab host: those that `parts` names, or all if it is empty; see kvm/inside.ts. */
export async function kvm(rounds: number, parts: readonly string[]): Promise<Report> {
  await bundlePackages();
  // The lab host has no compiler.
  for (const name of ["exits", "spin"] as const) buildGuestProgram(name);
  const lines: string[] = [];
  const { status, reason } = await runLab({
    name: "bench-kvm",
    script: `exec node bench/kvm/inside.ts ${rounds} ${parts.join(" ")}\n`,
    programs: [],
    interactive: false,
    seconds: 1800,
    output: (line) => {
      console.error(line);
      lines.push(line);
    },
  });
  if (status !== 0) throw new Error(`The lab host did not take the figures: ${reason || `status ${status}`}`);
  return {
    title: "KVM, in the lab host",
    text: lines
      .filter((line) => !line.startsWith("lab: "))
      .join("\n")
      .trim(),
  };
}
