import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { buildGuestProgram } from "@cpr/guest-programs";
import { type Blackout, cprBlackout, qemuBlackout, type Subject } from "../blackout.ts";
import type { Report } from "../report.ts";
import { milliseconds, report } from "./figure.ts";
import type { Repeated } from "./in-process.ts";
import { ramSize } from "./spinning-guest.ts";

const processors = 4;

/** What of {@link Repeated} `in-process.ts` finds in so many processes. */
function inProcesses(rounds: number): Record<"save" | "load", Repeated[]> {
  const folder = mkdtempSync("/dev/shm/cpr-bench-");
  const script = new URL("in-process.ts", import.meta.url).pathname;
  const run = (role: string): Repeated =>
    JSON.parse(
      execFileSync(execPath, [script, role, String(processors), join(folder, "states")], { encoding: "utf8" }),
    );
  try {
    const save = Array.from({ length: rounds }, () => run("save"));
    return { save, load: Array.from({ length: rounds }, () => run("load")) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How long it takes to save and load what is not in RAM, and the whole of it. */
export async function state(rounds: number): Promise<Report> {
  const { save, load } = inProcesses(rounds);
  const subject: Subject = {
    ram: "kept",
    size: ramSize,
    guest: ["-smp", String(processors), "-kernel", buildGuestProgram("spin")],
    isReady: (line) => line === "spin begin",
    execution: { cpr: ["-accel", "kvm"], qemu: ["-accel", "kvm", "-cpu", "host"] },
  };
  const cpr: Blackout[] = [];
  const qemu: Blackout[] = [];
  for (let round = 0; round < rounds; round += 1) {
    cpr.push(await cprBlackout(subject));
    qemu.push(await qemuBlackout(subject));
  }
  const whole = (what: string, part: "save" | "load" | "total") => ({
    what,
    processors,
    cpr: cpr.map((each) => each[part]),
    qemu: qemu.map((each) => each[part]),
  });
  return report({
    title: "State of vCPUs and devices, RAM in place",
    figures: [
      { what: "save() alone, cold", processors, cpr: save.map(({ cold }) => cold) },
      { what: "save() alone, warm", processors, cpr: save.flatMap(({ warm }) => warm) },
      { what: "prepareLoad() and load() alone, cold", processors, cpr: load.map(({ cold }) => cold) },
      { what: "prepareLoad() and load() alone, warm", processors, cpr: load.flatMap(({ warm }) => warm) },
      whole("migrate", "save"),
      whole("migrate_incoming, parameters set", "load"),
      whole("migrate, quit, start, migrate_incoming", "total"),
    ],
    format: milliseconds,
  });
}
