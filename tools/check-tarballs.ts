import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { packPackages } from "./pack.ts";
import { root, workspacePackages } from "./workspace.ts";

/** The resolution modes that ESM-only packages for current Node promise to serve. */
const promised = new Set(["node16-esm", "bundler"]);

/** What is wrong with the published packages once they are packed: entry points that lead nowhere, types that lie. */
export async function checkTarballs(): Promise<string[]> {
  const tarballs = packPackages(join(root, ".cache/tarballs"));
  const problems: string[] = [];
  for (const { manifest } of workspacePackages()) {
    const file = tarballs.get(manifest.name);
    if (manifest.private === true || file === undefined) continue;
    const data = new Uint8Array(readFileSync(file));

    const { messages, pkg } = await publint({ pack: { tarball: data.buffer }, level: "warning", strict: true });
    for (const message of messages) problems.push(`${manifest.name}: ${formatMessage(message, pkg, { color: false })}`);

    const analysis = await checkPackage(createPackageFromTarballData(data));
    if (!analysis.types) problems.push(`${manifest.name}: the package has no types`);
    else {
      for (const problem of analysis.problems) {
        if ("resolutionKind" in problem && !promised.has(problem.resolutionKind)) continue;
        problems.push(`${manifest.name}: ${JSON.stringify(problem)}`);
      }
    }
  }
  return problems;
}
