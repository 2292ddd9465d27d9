import { execPath } from "node:process";
import { buildGuestProgram } from "@cpr/guest-programs";
import { cprCommand } from "../../tools/cpr-process.ts";
import { loopRates, timedLines } from "../peers/timed-lines.ts";
import type { Report } from "../report.ts";
import { type Figure, report } from "./figure.ts";

/** Accesses per second of each loop of the guest program. */
const rates = async (command: string, words: readonly string[]): Promise<ReadonlyMap<string, number>> =>
  loopRates(await timedLines(command, words, (line) => line === "end"));

/** How often a second a guest can write to a port; of several vCPUs, the others have not been started. */
export async function exits(rounds: number): Promise<Report> {
  const figures: Figure[] = [];
  for (const processors of [1, 4]) {
    const guest = [
      ...["-smp", String(processors), "-m", "64M", "-kernel", buildGuestProgram("exits")],
      ...["-serial", "stdio", "-no-reboot"],
    ];
    const cpr: ReadonlyMap<string, number>[] = [];
    const qemu: ReadonlyMap<string, number>[] = [];
    for (let round = 0; round < rounds; round += 1) {
      cpr.push(await rates(execPath, [cprCommand, "run", "-accel", "kvm", ...guest]));
      qemu.push(
        await rates("qemu-system-x86_64", [
          ...["-nodefaults", "-no-user-config", "-M", "microvm", "-accel", "kvm", "-cpu", "host", "-display", "none"],
          ...guest,
        ]),
      );
    }
    const figure = (what: string, name: string): Figure => ({
      what,
      processors,
      cpr: cpr.map((each) => each.get(name) ?? Number.NaN),
      qemu: qemu.map((each) => each.get(name) ?? Number.NaN),
    });
    figures.push(
      figure("COM1's scratch register, a device model's", "device"),
      // QEMU's microvm lets no eventfd take a write to a port: it answers this one as any other.
      figure("port 0x80, which cpr lets an ioeventfd take", "ignored"),
    );
  }
  return report({
    title: "Writes to a port, each of which leaves the guest",
    figures,
    format: (value) => `${Math.round(value)}/s`,
    ratio: (ours, theirs) => theirs / ours,
  });
}
