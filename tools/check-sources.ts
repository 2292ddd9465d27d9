import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./workspace.ts";

/** A file that is longer than this holds more than one concept. */
const longest = 800;

/** Marks of unfinished work. Split, so that this file does not carry them. */
const unfinished = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X", "not implement" + "ed"].join("|")})\\b`);

/** What is wrong with one source file beyond what a linter sees. */
export function sourceProblems(name: string, text: string): string[] {
  const lines = text.split("\n");
  const problems = lines.flatMap((line, index) =>
    unfinished.test(line) ? [`${name}:${index + 1}: unfinished: ${line.trim()}`] : [],
  );
  if (lines.length > longest)
    problems.push(`${name}: ${lines.length} lines, more than ${longest}: split it by concept`);
  return problems;
}

/** Looks at all sources that git knows or would take. */
export function checkSources(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: root,
    encoding: "utf8",
  });
  return listed
    .split("\0")
    .filter((name) => /\.(ts|js|mjs|cc|h|asm|s|S)$/.test(name) && existsSync(join(root, name)))
    .flatMap((name) => sourceProblems(name, readFileSync(join(root, name), "utf8")));
}
