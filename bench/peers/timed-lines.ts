import { spawn } from "node:child_process";

/** One line of a guest's console and when it came, in milliseconds since the process was started. */
export interface TimedLine {
  readonly text: string;
  readonly at: number;
}

/**
 * Runs a program until a line of its standard output satisfies `last`, or it ends by itself, and returns its lines with
 * their times. The program is killed then.
 *
 * @throws if it takes longer than `seconds`, with what it said.
 */
export function timedLines(
  command: string,
  words: readonly string[],
  last: (line: string) => boolean,
  { seconds = 300, directory }: { readonly seconds?: number; readonly directory?: string } = {},
): Promise<TimedLine[]> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, words, {
      stdio: ["ignore", "pipe", "pipe"],
      // A process group of its own, so that what it started ends with it.
      detached: true,
      ...(directory === undefined ? {} : { cwd: directory }),
    });
    const kill = (): void => {
      try {
        process.kill(-(child.pid as number), "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    };
    const lines: TimedLine[] = [];
    let rest = "";
    let errors = "";
    const timer = setTimeout(() => {
      kill();
      reject(new Error(`${command} did not come to its end within ${seconds} s: ${errors}${rest}`));
    }, seconds * 1000);
    child.stderr.on("data", (bytes: Buffer) => {
      errors += bytes.toString();
    });
    child.stdout.on("data", (bytes: Buffer) => {
      const at = performance.now() - started;
      const parts = (rest + bytes.toString("latin1")).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const text = part.replaceAll("\r", "");
        lines.push({ text, at });
        if (last(text)) kill();
      }
    });
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      resolve(lines);
    });
  });
}

/** What each loop of a guest program did in a second, from its lines `NAME begin` and `NAME end COUNT`. */
export function loopRates(lines: readonly TimedLine[]): ReadonlyMap<string, number> {
  const begun = new Map<string, number>();
  const result = new Map<string, number>();
  for (const { text, at } of lines) {
    const [name = "", event, count] = text.split(" ");
    if (event === "begin") begun.set(name, at);
    if (event === "end") result.set(name, Number(count) / ((at - (begun.get(name) ?? Number.NaN)) / 1000));
  }
  return result;
}
