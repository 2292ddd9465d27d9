import { globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { extensionPointNames } from "../../packages/core/src/kernel.ts";
import { capabilityDefinitions } from "../../packages/core/src/migration/capabilities.ts";
import { incomingPhases } from "../../packages/core/src/migration/incoming.ts";
import { outgoingPhases } from "../../packages/core/src/migration/outgoing.ts";
import { parameterDefinitions } from "../../packages/core/src/migration/parameters.ts";
import { type RunState, validTransition } from "../../packages/core/src/runstate.ts";
import {
  brokenLinks,
  type Document,
  documentProblems,
  documents,
  exampleProblems,
  fences,
  listRows,
  mapProblems,
  missingPaths,
  numberedItems,
  quotedNames,
  readDocument,
  refresh,
  section,
  staleFiles,
  tableRows,
} from "../documentation.ts";
import { root, workspacePackages } from "../workspace.ts";

const architecture = readDocument("ARCHITECTURE.md").text;
const core = join(root, "packages/core/src");

describe("the documents of this checkout", () => {
  test("mention paths that exist, have links that lead somewhere, and show files as they are", () => {
    const all = documents();
    expect(all.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/writing-a-plugin.md"]),
    );
    expect(documentProblems(all)).toEqual([]);
  });

  test("have examples that compile", () => {
    expect(exampleProblems(documents())).toEqual([]);
  }, 120_000);

  test("show every file of the example plugin", () => {
    const shown = fences(readDocument("docs/writing-a-plugin.md").text).map(({ file }) => file);
    const files = globSync("fixtures/third-party-plugin/{*.{json,ts},src/*,test/*}", { cwd: root });
    expect(files.length).toBeGreaterThan(5);
    expect(shown).toEqual(expect.arrayContaining(files));
  });
});

describe("ARCHITECTURE.md", () => {
  test("is short enough to be read", () => {
    expect(architecture.split("\n").length).toBeLessThanOrEqual(375);
  });

  test("lists the phases of saving and loading as they are", () => {
    const phases = numberedItems(section(architecture, "A checkpoint, step by step"));
    expect(phases).toEqual([...outgoingPhases, ...incomingPhases].map(({ name }) => name));
  });

  test("has the transitions of the runstates", () => {
    const source = readFileSync(join(core, "runstate.ts"), "utf8");
    const union = /export type RunState =([^;]*);/.exec(source)?.[1] ?? "";
    const states = [...union.matchAll(/"([a-z-]+)"/g)].map(([, state]) => state as RunState);
    expect(states.length).toBeGreaterThan(5);
    const rows = tableRows(section(architecture, "The life of a VM"));
    const documented = rows.map(([from = "", to = ""]) => [quotedNames(from)[0], quotedNames(to).toSorted()]);
    const actual = states.map((from) => [from, states.filter((to) => validTransition(from, to)).toSorted()]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
  });

  test("has every extension point, and what is built in", () => {
    const rows = tableRows(section(architecture, "Contracts"));
    expect(rows.map(([point = ""]) => quotedNames(point)[0])).toEqual([...extensionPointNames]);
    const deviceModels = listRows(section(architecture, "Contracts")).flatMap(([names = ""]) => quotedNames(names));
    for (const point of extensionPointNames.filter((name) => name !== "monitor-command")) {
      const row = rows[extensionPointNames.indexOf(point)] ?? [];
      const builtIn = point === "device-model" ? deviceModels : quotedNames(row.at(-1) ?? "");
      const provided = workspacePackages().flatMap(({ manifest }) => manifest.cpr?.provides[point] ?? []);
      expect(builtIn.toSorted()).toEqual(provided.toSorted());
    }
  });

  test("has the layering rules in their order", () => {
    const rules = [...readFileSync(join(root, "tools/layering.ts"), "utf8").matchAll(/name: "([a-z-]+)"/g)];
    const listed = [...section(architecture, "Layering rules").matchAll(/^- `([a-z-]+)`/gm)];
    expect(rules.length).toBeGreaterThan(5);
    expect(listed.map(([, rule]) => rule)).toEqual(rules.map(([, rule]) => rule));
  });

  test("maps every package, every file of core and every tool", () => {
    const map = section(architecture, "Code map");
    const mapped = listRows(map).map(([path = ""]) => quotedNames(path));
    const packages = mapped.flat().filter((path) => /^packages\/[^/]+$/.test(path));
    expect(packages).toEqual(workspacePackages().map(({ folder }) => `packages/${folder}`));
    expect(mapProblems(listRows(section(architecture, "The files of core")), core)).toEqual([]);
    const tools = readdirSync(join(root, "tools")).filter((name) => /\.(ts|mjs)$/.test(name));
    expect(mapped.flat()).toEqual(expect.arrayContaining(tools.map((name) => `tools/${name}`)));
  });

  test("lists every decision", () => {
    const links = [...section(architecture, "Decisions").matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target);
    expect(links).toEqual(globSync("docs/decisions/*.md", { cwd: root }).sort());
  });
});

describe("docs/migration.md", () => {
  const { text } = readDocument("docs/migration.md");
  const documented = (title: string): string[] =>
    tableRows(section(text, title)).map(([name = ""]) => quotedNames(name)[0] ?? "");

  test("has the capabilities that have an effect, in QEMU's order", () => {
    const supported = Object.entries(capabilityDefinitions).filter(([, { supported }]) => supported === "yes");
    expect(documented("Capabilities")).toEqual(supported.map(([name]) => name));
  });

  test("has the parameters that can be set", () => {
    const supported = Object.entries(parameterDefinitions).filter(([, { supported }]) => supported);
    expect(documented("Parameters").toSorted()).toEqual(supported.map(([name]) => name).toSorted());
  });
});

describe("the checks of documents", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "cpr-documentation-"));
    mkdirSync(join(folder, "packages/one/src/parts"), { recursive: true });
    writeFileSync(join(folder, "packages/one/src/one.ts"), "export const one = 1;\n");
    writeFileSync(join(folder, "packages/one/src/parts/left.ts"), "export {};\n");
    writeFileSync(join(folder, "OTHER.md"), "# Other\n\n## A heading, with `code`\n");
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const document = (text: string): Document => ({ name: "README.md", text });

  test("find a path that is not there", () => {
    const text = "`packages/one/src/one.ts` `packages/*/src` `packages/two` `tools/*.none` `file:PATH` `one/two`";
    expect(missingPaths(document(text), folder)).toEqual([
      "README.md: there is no packages/two",
      "README.md: there is no tools/*.none",
    ]);
    expect(missingPaths(document("```\n`packages/two`\n```\n"), folder)).toEqual([]);
  });

  test("find a link that leads nowhere, and one to a heading that is not there", () => {
    const text =
      "[a](OTHER.md) [b](OTHER.md#a-heading-with-code) [c](https://example.org) [d](NONE.md) [e](OTHER.md#none)";
    expect(brokenLinks(document(text), folder)).toEqual([
      "README.md: the link NONE.md leads nowhere",
      "README.md: the link OTHER.md#none leads nowhere",
    ]);
  });

  test("find code that is not the file's, and replace it", () => {
    const text = (code: string) =>
      `Before\n\n<!-- file: packages/one/src/one.ts -->\n\n\`\`\`ts\n${code}\`\`\`\n\nAfter\n`;
    const right = document(text("export const one = 1;\n"));
    const wrong = document(text("export const one = 2;\n"));
    expect(staleFiles(right, folder)).toEqual([]);
    expect(staleFiles(wrong, folder)).toHaveLength(1);
    expect(staleFiles(document(text("").replace("one.ts", "two.ts")), folder)).toHaveLength(1);
    expect(refresh(wrong, folder)).toBe(right.text);
  });

  test("find what a map lacks and what it has too much", () => {
    const source = join(folder, "packages/one/src");
    expect(mapProblems(listRows("- `one.ts`: one\n- `parts/`: the\n  `left.ts`"), source)).toEqual([]);
    expect(mapProblems(listRows("- `parts/`: `left.ts`"), source)).toHaveLength(1);
    expect(mapProblems(listRows("- `one.ts`: one\n- `parts/`: nothing"), source)).toHaveLength(1);
    expect(mapProblems(listRows("- `one.ts`, `two.ts`: one\n- `parts/`: `left.ts` `right.ts`"), source)).toHaveLength(
      2,
    );
  });

  test("find an example that does not compile, and leave names alone that it takes as given", () => {
    const example = (code: string) => document(`\`\`\`ts\nimport { u8 } from "@cpr/core";\n${code}\n\`\`\`\n`);
    expect(exampleProblems([example("given(u8.size);")])).toEqual([]);
    expect(exampleProblems([example("given(u8.weight);")])).toHaveLength(1);
    expect(exampleProblems([document('```ts\nimport { u7 } from "@cpr/core";\ngiven(u7);\n```\n')])).toHaveLength(1);
  }, 120_000);

  test("find a heading that is not there", () => {
    expect(section("# A\n## B\ntext\n## C\n", "B")).toBe("text");
    expect(() => section("# A\n", "B")).toThrow("there is no heading 'B'");
  });
});
