import { execFileSync } from "node:child_process";
import { execPath } from "node:process";
import { CprProcess } from "../../tools/cpr-process.ts";
import { QmpProcess } from "../peers/qmp-process.ts";
import type { Report } from "../report.ts";
import { milliseconds, report } from "./figure.ts";
import { measurePauses, type Pauses } from "./pauses.ts";
import { SpinningGuest } from "./spinning-guest.ts";

/** How often each process is stopped. */
const times = 20;

async function withCpr(processors: number): Promise<Pauses> {
  using guest = new SpinningGuest(processors);
  const machine = new CprProcess(["-accel", "kvm", ...guest.options]);
  await machine.ready();
  const command =
    (line: string): (() => Promise<string>) =>
    () =>
      machine.command(line);
  const pauses = await measurePauses({ stop: command("stop"), cont: command("cont") }, guest, processors, times);
  await machine.quit();
  return pauses;
}

async function withQemu(processors: number): Promise<Pauses> {
  using guest = new SpinningGuest(processors);
  const machine = new QmpProcess([
    ...["-nodefaults", "-no-user-config", "-M", "microvm,memory-backend=ram0", "-accel", "kvm", "-cpu", "host"],
    ...["-display", "none", ...guest.options],
  ]);
  await machine.ready();
  const command =
    (name: string): (() => Promise<unknown>) =>
    () =>
      machine.command(name);
  const pauses = await measurePauses({ stop: command("stop"), cont: command("cont") }, guest, processors, times);
  await machine.quit();
  return pauses;
}

/** The same through the library, in a process of its own: see in-process.ts. */
const inProcess = (role: "stop" | "pause", processors: number): Pauses =>
  JSON.parse(
    execFileSync(execPath, [new URL("in-process.ts", import.meta.url).pathname, role, String(processors)], {
      encoding: "utf8",
    }),
  );

/** How long it takes to stop vCPUs that all spin, and to let them go on. */
export async function pause(): Promise<Report> {
  const figures = [];
  for (const processors of [1, 4]) {
    const cpr = await withCpr(processors);
    const qemu = await withQemu(processors);
    const library = inProcess("stop", processors);
    const alone = inProcess("pause", processors);
    figures.push(
      { what: "stop, monitor", processors, cpr: cpr.stop, qemu: qemu.stop },
      { what: "cont, monitor", processors, cpr: cpr.cont, qemu: qemu.cont },
      { what: "cont until a vCPU executes", processors, cpr: cpr.first, qemu: qemu.first },
      { what: "cont until all execute", processors, cpr: cpr.all, qemu: qemu.all },
      { what: "VirtualMachine.stop()", processors, cpr: library.stop },
      { what: "VirtualMachine.cont()", processors, cpr: library.cont },
      { what: "the vCPUs' pause alone", processors, cpr: alone.stop },
      { what: "the vCPUs' start alone", processors, cpr: alone.cont },
    );
  }
  return report({ title: "Pause and resume, all vCPUs spinning", figures, format: milliseconds });
}
