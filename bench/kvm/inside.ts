/**
 * `node bench/kvm/inside.ts ROUNDS [NAME…]`: takes the figures about KVM on this machine, which must have it, and prints them. Those of
 * devices are taken when they are named: they need a lab host with a disk for them.
 */
import { calibrate } from "../calibration.ts";
import { partNames } from "../devices/figures.ts";
import type { Report } from "../report.ts";
import { boot } from "./boot.ts";
import { devices } from "./devices.ts";
import { exits } from "./exits.ts";
import { pause } from "./pause.ts";
import { state } from "./state.ts";

const benchmarks: Record<string, (rounds: number) => Promise<Report>> = { exits, pause, state, boot };

const [rounds = "3", ...names] = process.argv.slice(2);
const print = ({ title, text }: Report): void => console.log(`\n### ${title}\n\n${text}`);
console.log(`The calibrating loop takes ${calibrate().toFixed(0)} ms here.`);
for (const [name, run] of Object.entries(benchmarks)) {
  if (names.length > 0 && !names.includes(name)) continue;
  print(await run(Number(rounds)));
}
const parts = names.filter((name) => partNames.includes(name));
if (parts.length > 0) print(await devices(Number(rounds), parts));
process.exit(0);
