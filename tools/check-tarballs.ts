import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { packPackages } from "./pack.ts";
import { root, workspacePackages } from "./workspace.ts";

/** The resolution modes that ESM-only packages for current Node promise to serve. */
const promised = new Set(["node16-esm", "bundler"]);

/** What is wrong with one packed package: entry points that lead nowhere, types that lie. */
export async function tarballProblems(data: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const { messages, pkg } = await publint({ pack: { tarball: data.buffer }, level: "warning", strict: true });
  const analysis = await checkPackage(createPackageFromTarballData(data));
  const lies = !analysis.types
    ? ["it has no types"]
    : analysis.problems
        .filter((problem) => !("resolutionKind" in problem) || promised.has(problem.resolutionKind))
        .map((problem) => JSON.stringify(problem));
  return [...messages.map((message) => formatMessage(message, pkg, { color: false }) ?? message.code), ...lies].map(
    (problem) => `${pkg.name}: ${problem}`,
  );
}

/** Packs all published packages of the workspace and tells what is wrong with them. */
export async function checkTarballs(): Promise<string[]> {
  const tarballs = packPackages(join(root, ".cache/tarballs"));
  const problems: string[] = [];
  for (const { manifest } of workspacePackages()) {
    const file = tarballs.get(manifest.name);
    if (manifest.private === true || file === undefined) continue;
    problems.push(...(await tarballProblems(new Uint8Array(readFileSync(file)))));
  }
  return problems;
}
