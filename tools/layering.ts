import { existsSync } from "node:fs";
import { join } from "node:path";
import type { VariableDeclarator } from "@swc/core";
import { Visitor } from "@swc/core/Visitor.js";
import { cruise, type IForbiddenRuleType, type IViolation } from "dependency-cruiser";
import { workspacePackages } from "./workspace.ts";

/** What {@link checkLayering} saw. */
export interface LayeringReport {
  /** How many modules of ours were read: nought means that the parser was not there, not that all is well. */
  readonly modules: number;
  /** One line for each import that a rule forbids. */
  readonly violations: readonly string[];
}

const anyOf = (folders: readonly string[]): string => `^packages/(${folders.join("|")})/`;

/**
 * The layering of ARCHITECTURE.md as rules over paths. A package is a plugin when its manifest has a `cpr` key, so that a
 * new plugin is under the rules from its first commit.
 */
function rules(base: string): IForbiddenRuleType[] {
  const packages = workspacePackages(base);
  const plugins = packages.filter(({ manifest }) => manifest.cpr !== undefined).map(({ folder }) => folder);
  const others = packages.map(({ folder }) => folder).filter((folder) => folder !== "core");
  const sources = "/(src|bin)/";
  return [
    {
      name: "core-knows-no-plugin",
      comment: "The kernel knows contracts, never implementations.",
      severity: "error",
      from: { path: "^packages/core/src/" },
      to: { path: anyOf(others) },
    },
    {
      name: "plugins-are-strangers",
      comment: "A plugin reaches another one through the kernel's contracts only.",
      severity: "error",
      from: { path: `^packages/(${plugins.join("|")})${sources}` },
      to: { path: anyOf(plugins), pathNot: "^packages/$1/" },
    },
    {
      name: "testkit-imports-core-only",
      comment: "Third parties run the compliance suites: the testkit may not bring packages of ours along.",
      severity: "error",
      from: { path: "^packages/testkit/src/" },
      to: { path: "^packages/", pathNot: "^packages/(core|testkit)/" },
    },
    {
      name: "tsyringe-only-in-core-di",
      comment:
        "Two copies of tsyringe do not see each other's classes, and it must be imported after reflect-metadata.",
      severity: "error",
      from: { pathNot: "^packages/core/src/di\\.ts$" },
      to: { path: "(^|/)(tsyringe|reflect-metadata)(/|$)" },
    },
    {
      name: "no-deep-imports",
      comment: "Another package is imported by its name and its exports, never by a path into its folder.",
      severity: "error",
      from: { path: "^packages/([^/]+)/" },
      to: { path: "^packages/", pathNot: "^packages/$1/", dependencyTypes: ["local"] },
    },
    {
      name: "sources-import-no-tests",
      severity: "error",
      from: { path: `^packages/[^/]+${sources}`, pathNot: "\\.test\\.ts$" },
      to: { path: "(^packages/[^/]+/test/|\\.test\\.ts$)" },
    },
    {
      name: "no-cycles",
      comment: "Cycles of types alone are allowed: they do not exist at run time.",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "resolvable",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ];
}

/**
 * NOTE: swc parses `using` declarations, but its visitor, which dependency-cruiser reads imports with, throws at them. They are
 * declarations of variables under another name.
 */
function teachVisitorUsing(): void {
  const { prototype } = Visitor;
  const { visitStatement } = prototype;
  prototype.visitStatement = function (statement) {
    if ((statement.type as string) !== "UsingDeclaration") return visitStatement.call(this, statement);
    this.visitVariableDeclarators((statement as unknown as { decls: VariableDeclarator[] }).decls);
    return statement;
  };
}
teachVisitorUsing();

/** Reads all imports under `packages/` of the checkout at `base` and reports those that a layering rule forbids. */
export async function checkLayering(base: string): Promise<LayeringReport> {
  const { output } = await cruise(
    // dist is what sources become; node_modules is followed only as far as the name of a package.
    ["packages"],
    {
      baseDir: base,
      validate: true,
      ruleSet: { forbidden: rules(base) },
      parser: "swc",
      tsPreCompilationDeps: true,
      exclude: { path: "(/dist/|/build/|/fixtures/)" },
      doNotFollow: { path: "node_modules" },
      combinedDependencies: true,
      moduleSystems: ["es6"],
    },
    {
      exportsFields: ["exports"],
      conditionNames: ["source", "import", "node", "default"],
      extensions: [".ts", ".js", ".mjs", ".json", ".node"],
    },
  );
  if (typeof output === "string") throw new TypeError("dependency-cruiser gave text where a result was expected");
  return {
    modules: output.modules.filter(({ source }) => source.startsWith("packages/") && existsSync(join(base, source)))
      .length,
    violations: output.summary.violations.map(describe),
  };
}

const describe = ({ rule, from, to, cycle }: IViolation): string =>
  cycle === undefined
    ? `${rule.name}: ${from} -> ${to}`
    : `${rule.name}: ${[from, ...cycle.map(({ name }) => name)].join(" -> ")}`;
