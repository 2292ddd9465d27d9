import { expect, test } from "vitest";
import { sourceProblems } from "../check-sources.ts";

test("marks of unfinished work are found where they stand", () => {
  const mark = "TO" + "DO";
  expect(sourceProblems("a.ts", `export const a = 1;\n// ${mark}: the rest\n`)).toEqual([
    `a.ts:2: unfinished: // ${mark}: the rest`,
  ]);
  expect(sourceProblems("a.ts", "export const mastodon = 'TODOS';\n")).toEqual([]);
});

test("a file of many lines is found", () => {
  expect(sourceProblems("a.ts", "\n".repeat(799))).toEqual([]);
  expect(sourceProblems("a.ts", "\n".repeat(800))).toHaveLength(1);
});
