import { parseArgs } from "node:util";
import { runDifferential } from "../packages/backend-interp/test/differential/differential.ts";

/**
 * `npm run differential -- [--seconds N] [--seed S] [--reports N]`: random sequences of instructions, executed by this
 * machine's processor and by the interpreter. Each difference is made as short as possible and printed; the exit status is 1
 * if there was one. The same seed makes the same sequences; without one the time decides.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Date.now() / 1000)) },
    reports: { type: "string", default: "10" },
  },
});
const numbers = Object.fromEntries(
  Object.entries(values).map(([name, text]) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 0) {
      console.error(`--${name} takes a whole number, not '${text}'.`);
      process.exit(2);
    }
    return [name, value];
  }),
) as Record<keyof typeof values, number>;

const { seconds, seed, reports } = numbers;
const start = performance.now();
const elapsed = (): number => (performance.now() - start) / 1000;
let nextLine = 10;
console.log(`seed ${seed}, ${seconds} seconds`);
const result = await runDifferential({
  seed,
  until: () => elapsed() >= seconds,
  mostReports: reports,
  onReport: (report) => console.log(`\n${report}\n`),
  onBatch: ({ sequences, instructions }) => {
    if (elapsed() < nextLine) return;
    nextLine += 10;
    console.log(`${Math.round(elapsed())} s: ${sequences} sequences, ${instructions} instructions`);
  },
});
const perSecond = Math.round(result.instructions / elapsed());
const exceptions = [...result.vectors]
  .filter(([vector]) => vector !== 6)
  .sort(([first], [second]) => first - second)
  .map(([vector, count]) => `#${vector} ${count}`);
console.log(
  `${result.sequences} sequences, ${result.instructions} instructions (${perSecond} a second); ended by exceptions: ${exceptions.join(", ")}`,
);
console.log(`${result.reports.length} differences`);
process.exitCode = result.reports.length === 0 ? 0 : 1;
