/**
 * Keeps the documentation true: paths that it mentions exist, links lead somewhere, maps and lists are complete, code that it
 * shows is the code that there is.
 *
 * `node tools/documentation.ts` tells what is wrong; with `--write`, code shown from files is taken from them again.
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join, relative } from "node:path";
import { root, workspacePackages } from "./workspace.ts";

/** A document: its path in the checkout, and its text. */
export interface Document {
  readonly name: string;
  readonly text: string;
}

/** All documents of a checkout. */
export function documents(base: string = root): Document[] {
  const patterns = ["*.md", "docs/**/*.md", "packages/*/README.md", "fixtures/*/README.md", "bench/*.md"];
  return globSync(patterns, { cwd: base })
    .sort()
    .map((name) => ({ name, text: readFileSync(join(base, name), "utf8") }));
}

/** One document of the checkout. */
export function readDocument(name: string, base: string = root): Document {
  return { name, text: readFileSync(join(base, name), "utf8") };
}

interface Fence {
  readonly language: string;
  /** The file that a comment in front of the block says it is. */
  readonly file: string | undefined;
  readonly code: string;
  /** Where the code begins and ends in the text. */
  readonly start: number;
  readonly end: number;
}

/** The fenced blocks of a text. `<!-- file: PATH -->` in front of one says that it is that file. */
export function fences(text: string): Fence[] {
  const pattern = /(?:<!-- file: (\S+) -->\n\n?)?^(`{3,})(\w*)\n([\s\S]*?)^\2$/gm;
  return [...text.matchAll(pattern)].map((match) => {
    const [whole, file, mark = "", language = "", code = ""] = match;
    const end = match.index + whole.length - mark.length;
    return { language, file, code, start: end - code.length, end };
  });
}

const withoutFences = (text: string): string => text.replace(/^(`{3,})[\s\S]*?^\1$/gm, "");

/** Folders at the root: what begins with one of them is a path in the repository. */
const folders = ["packages", "tools", "docs", "bench", "fixtures", ".ci"];

/** Paths in backticks that lead nowhere. With `*` in it, a path must match something. */
export function missingPaths({ name, text }: Document, base: string = root): string[] {
  const paths = [...withoutFences(text).matchAll(/`([^`\s]+)`/g)]
    .map(([, path = ""]) => path)
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)) && /^[\w.@/*-]+$/.test(path));
  return [...new Set(paths)]
    .filter((path) => globSync(path, { cwd: base }).length === 0)
    .map((path) => `${name}: there is no ${path}`);
}

/** What GitHub makes of a heading for links to it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");
}

/** Relative links that lead to no file, or to no heading in it. */
export function brokenLinks({ name, text }: Document, base: string = root): string[] {
  const links = [...withoutFences(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return links
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? join(base, name) : join(base, dirname(name), path);
      if (!existsSync(file)) return true;
      if (anchor === undefined) return false;
      const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
      return !headings.some((heading) => anchorOf(heading) === anchor);
    })
    .map((target) => `${name}: the link ${target} leads nowhere`);
}

/** The part of a text under a heading, up to the next heading of the same or a higher level. */
export function section(text: string, heading: string): string {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ (\d+\. )?/, "") === heading);
  if (start < 0) throw new Error(`there is no heading '${heading}'`);
  const level = (lines[start] as string).indexOf(" ");
  const length = lines.slice(start + 1).findIndex((line) => /^#+ /.test(line) && line.indexOf(" ") <= level);
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join("\n");
}

/** The items of the numbered lists in a text, without their numbers and what follows a colon in bold. */
export function numberedItems(text: string): string[] {
  return [...text.matchAll(/^\d+\. (.*)$/gm)].map(([, item = ""]) => item);
}

/** The rows of the tables in a text, without their heads: cells without the blanks around them. */
export function tableRows(text: string): string[][] {
  const lines = text.split("\n");
  return lines
    .filter(
      (line, index) =>
        line.startsWith("|") && !/^\|[\s|:-]+$/.test(line) && !/^\|[\s|:-]+$/.test(lines[index + 1] ?? ""),
    )
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The items of the bulleted lists in a text, each taken apart at its first colon. */
export function listRows(text: string): string[][] {
  return [...text.matchAll(/^- (.*(?:\n {2}\S.*)*)/gm)].map(([, item = ""]) => {
    const [first = "", ...rest] = item.replace(/\n +/g, " ").split(": ");
    return [first, rest.join(": ")];
  });
}

/** The names in backticks in a text. */
export function quotedNames(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
}

/**
 * What a map of a folder lacks or has too much. A row's first cell names files, or a folder with a slash at its end; the
 * files of a folder are named in the row's second cell.
 */
export function mapProblems(rows: readonly (readonly string[])[], folder: string): string[] {
  const byName = new Map(
    rows.flatMap(([first = "", second = ""]) => quotedNames(first).map((name): [string, string] => [name, second])),
  );
  const problems: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const name = entry.isDirectory() ? `${entry.name}/` : entry.name;
    const row = byName.get(name);
    byName.delete(name);
    if (row === undefined) {
      problems.push(`${name} is not in the map of ${relative(root, folder)}`);
    } else if (entry.isDirectory()) {
      const files = readdirSync(join(folder, entry.name));
      const named = quotedNames(row).filter((each) => extname(each) !== "");
      problems.push(
        ...files.filter((file) => !named.includes(file)).map((file) => `${name}${file} is not in the map`),
        ...named
          .filter((file) => !files.includes(file))
          .map((file) => `the map names ${name}${file}, which is not there`),
      );
    }
  }
  return [
    ...problems,
    ...[...byName.keys()].map((name) => `the map names ${name}, which is not in ${basename(folder)}`),
  ];
}

/** Blocks that say they are a file and are not. */
export function staleFiles({ name, text }: Document, base: string = root): string[] {
  return fences(text)
    .filter(({ file, code }) => file !== undefined && readIfThere(join(base, file)) !== code)
    .map(({ file }) => `${name}: the code is not that of ${file}; node tools/documentation.ts --write makes it so`);
}

const readIfThere = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, "utf8") : undefined);

/** The text with the blocks that are files taken from them. */
export function refresh({ text }: Document, base: string = root): string {
  let result = "";
  let done = 0;
  for (const { file, start, end } of fences(text)) {
    if (file !== undefined) {
      result += text.slice(done, start) + readFileSync(join(base, file), "utf8");
      done = end;
    }
  }
  return result + text.slice(done);
}

/** Errors about names and files of its own that an example leaves to its reader. */
const leftOut = /error TS(?:2304|2552|18004|2503):|error TS2307: Cannot find module '\.{1,2}\//;

/**
 * Compiles the TypeScript examples of documents against our sources. Names that an example does not explain are taken as
 * given; imports, members and types must be right.
 */
export function exampleProblems(all: readonly Document[]): string[] {
  const folder = join(root, ".cache", "documentation");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const origin = new Map<string, string>();
  for (const { name, text } of all) {
    for (const [index, { language, file, code }] of fences(text).entries()) {
      if (language === "ts" && file === undefined) {
        const example = `${name.replace(/\W/g, "-")}-${index}.ts`;
        origin.set(example, name);
        writeFileSync(join(folder, example), `${code}export {};\n`);
      }
    }
  }
  const paths = Object.fromEntries(
    workspacePackages().flatMap(({ path, manifest }) =>
      Object.keys(manifest.exports ?? {})
        .filter((subpath) => subpath !== "./package.json")
        .map((subpath): [string, string[]] => [
          join(manifest.name, subpath),
          [join(path, "src", `${subpath === "." ? "index" : subpath}.ts`)],
        ]),
    ),
  );
  const compilerOptions = {
    ...{
      noEmit: true,
      noUnusedLocals: false,
      composite: false,
      declaration: false,
      declarationMap: false,
      incremental: false,
    },
    ...{ rewriteRelativeImportExtensions: false, allowImportingTsExtensions: true, paths },
    ...{ typeRoots: [join(root, "node_modules/@types")], types: ["node"] },
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions, include: ["*.ts"] }),
  );
  const { stdout, status } = spawnSync(
    process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", folder, "--pretty", "false"],
    { cwd: folder, encoding: "utf8" },
  );
  // Without a place in a source, an error says that nothing was compiled.
  if (status !== 0 && !/^\S+\.ts\(/m.test(stdout)) throw new Error(`the examples could not be compiled: ${stdout}`);
  return stdout
    .split("\n")
    .filter((line) => /^\S+\.ts\(/.test(line) && !leftOut.test(line))
    .map((line) => `${origin.get(line.slice(0, line.indexOf("(")))}: ${line}`);
}

/** What is wrong with the documents by themselves. */
export function documentProblems(all: readonly Document[], base: string = root): string[] {
  return all.flatMap((document) => [
    // A package's page may speak of other people's files.
    ...(document.name.startsWith("packages/") ? [] : missingPaths(document, base)),
    ...brokenLinks(document, base),
    ...staleFiles(document, base),
  ]);
}

if (import.meta.main) {
  if (process.argv.includes("--write")) {
    for (const document of documents()) {
      const text = refresh(document);
      if (text !== document.text) writeFileSync(join(root, document.name), text);
    }
  }
  const all = documents();
  const problems = [...documentProblems(all), ...exampleProblems(all)];
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
