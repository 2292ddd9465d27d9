/**
 * `npm run bench [-- NAME…] [-- --rounds N] [--only PART,…]`: takes figures beside the peers in the same run and prints them as Markdown.
 * Machines differ and are noisy, so the ratios are what counts.
 */
import { boot } from "./boot.ts";
import { checkpoint } from "./checkpoint.ts";
import { devices } from "./devices.ts";
import { kvm } from "./kvm.ts";
import { loops } from "./loops.ts";
import { ramCopy } from "./ram-copy.ts";
import type { Report } from "./report.ts";

const benchmarks: Record<string, (rounds: number, parts: readonly string[]) => Promise<Report>> = {
  loops,
  boot,
  checkpoint,
  "ram-copy": ramCopy,
  devices,
  kvm,
};

const words = process.argv.slice(2).filter((word) => word !== "--");
const option = (name: string): string | undefined => {
  const at = words.indexOf(name);
  return at < 0 ? undefined : words.splice(at, 2)[1];
};
const rounds = Number(option("--rounds") ?? 3);
const parts = option("--only")?.split(",") ?? [];
const unknown = words.filter((word) => !(word in benchmarks));
if (unknown.length > 0 || !(rounds >= 1)) {
  console.error(`Usage: npm run bench -- [${Object.keys(benchmarks).join("|")}]… [--rounds N] [--only PART,…]`);
  process.exit(2);
}
for (const [name, run] of Object.entries(benchmarks)) {
  if (words.length === 0 || words.includes(name)) {
    const { title, text } = await run(rounds, parts);
    console.log(`\n## ${title}\n\n${text}`);
  }
}
