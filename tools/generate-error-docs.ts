import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { root, workspacePackages } from "./workspace.ts";

/** A row of an error table, as far as the documentation needs it. */
interface Definition {
  readonly category: string;
  readonly when: string;
}

/** The errors of one package. */
export interface PackageErrors {
  readonly name: string;
  readonly codes: ReadonlyMap<string, Definition>;
}

const documentation = join(root, "docs", "errors.md");

/** What each category means to a person; the exit statuses come from the code. */
const categories: Readonly<Record<string, string>> = {
  usage: "The command line or a monitor command is malformed.",
  input: "A file, URI, device or memory object that was named cannot be used as asked.",
  host: "The host lacks something: space, permission, a kernel feature, a compiler.",
  busy: "Something that is needed is in use by another process.",
  checkpoint: "A checkpoint is damaged, truncated, of another machine or of a newer version.",
  refused: "The operation is well formed but is refused in this state or mode.",
  plugin: "A plugin failed to load, conflicts with another one or breaks its contract.",
  internal: "The guest or the virtual machine monitor itself failed.",
};

/**
 * The error tables of every package: what modules named `*errors.ts` export and what has `definitions`.
 * The core that they import must have been built.
 */
export async function collectErrors(): Promise<readonly PackageErrors[]> {
  const packages: PackageErrors[] = [];
  for (const { path, manifest } of workspacePackages()) {
    const codes = new Map<string, Definition>();
    for (const source of globSync("src/**/*errors.ts", { cwd: path }).sort()) {
      const module = pathToFileURL(join(path, source)).href;
      const exports = Object.values((await import(module)) as Record<string, unknown>);
      for (const table of exports) {
        const { definitions } = (table ?? {}) as { definitions?: Record<string, Definition> };
        for (const [code, definition] of Object.entries(definitions ?? {})) {
          codes.set(code, definition);
        }
      }
    }
    if (codes.size > 0) {
      packages.push({ name: manifest.name, codes });
    }
  }
  return packages;
}

/** The text of docs/errors.md. */
export async function renderErrorDocs(): Promise<string> {
  const core = join(root, "packages/core/src/errors.ts");
  const { exitStatus } = (await import(pathToFileURL(core).href)) as { exitStatus: Record<string, number> };
  const lines = [
    "# Errors",
    "",
    "<!-- Written by `node tools/generate-error-docs.ts` from the error tables; do not edit. -->",
    "",
    "Every error has a code, which stays the same within a major version; its message does not. The category decides the exit",
    "status of the `cpr` command; 0 is success, 1 an error without a category.",
    "",
    ...table(
      ["category", "exit status", "meaning"],
      Object.entries(exitStatus).map(([name, status]) => [name, String(status), categories[name] ?? ""]),
    ),
  ];
  for (const { name, codes } of await collectErrors()) {
    const rows = [...codes]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([code, { category, when }]) => [`\`${code}\``, category, when.replaceAll("|", "\\|")]);
    lines.push("", `## ${name}`, "", ...table(["code", "category", "when"], rows));
  }
  return `${lines.join("\n")}\n`;
}

/** A table with columns of even width, which is how the formatter wants it. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)];
}

/** What is wrong with docs/errors.md, for `npm run check`. */
export async function checkErrorDocs(): Promise<readonly string[]> {
  const present = existsSync(documentation) ? readFileSync(documentation, "utf8") : "";
  if (present === (await renderErrorDocs())) {
    return [];
  }
  return [`${relative(root, documentation)} is not what the tables say; run node tools/generate-error-docs.ts`];
}

if (import.meta.main) {
  writeFileSync(documentation, await renderErrorDocs());
  console.log(`wrote ${relative(dirname(root), documentation)}`);
}
