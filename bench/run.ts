/**
 * `npm run bench [-- NAME…] [-- --rounds N]`: takes figures beside the peers in the same run and prints them as Markdown.
 * Machines differ and are noisy, so the ratios are what counts.
 */
import { boot } from "./boot.ts";
import { checkpoint } from "./checkpoint.ts";
import { loops } from "./loops.ts";
import type { Report } from "./report.ts";

const benchmarks: Record<string, (rounds: number) => Promise<Report>> = { loops, boot, checkpoint };

const words = process.argv.slice(2).filter((word) => word !== "--");
const at = words.indexOf("--rounds");
const rounds = at < 0 ? 3 : Number(words.splice(at, 2)[1]);
const unknown = words.filter((word) => !(word in benchmarks));
if (unknown.length > 0 || !(rounds >= 1)) {
  console.error(`Usage: npm run bench -- [${Object.keys(benchmarks).join("|")}]… [--rounds N]`);
  process.exit(2);
}
for (const [name, run] of Object.entries(benchmarks)) {
  if (words.length === 0 || words.includes(name)) {
    const { title, text } = await run(rounds);
    console.log(`\n## ${title}\n\n${text}`);
  }
}
