/** `node bench/kvm/inside.ts ROUNDS [NAME…]`: takes the figures about KVM on this machine, which must have it, and prints them. */
import type { Report } from "../report.ts";
import { boot } from "./boot.ts";
import { exits } from "./exits.ts";
import { pause } from "./pause.ts";
import { state } from "./state.ts";

const benchmarks: Record<string, (rounds: number) => Promise<Report>> = { exits, pause, state, boot };

const [rounds = "3", ...names] = process.argv.slice(2);
for (const [name, run] of Object.entries(benchmarks)) {
  if (names.length > 0 && !names.includes(name)) continue;
  const { title, text } = await run(Number(rounds));
  console.log(`\n### ${title}\n\n${text}`);
}
process.exit(0);
