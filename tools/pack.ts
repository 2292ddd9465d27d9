import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./workspace.ts";

/**
 * Packs all packages of the workspace into `folder`, as publishing would: `dist` must have been built.
 *
 * @returns the path of each tarball, by package name
 */
export function packPackages(folder: string): ReadonlyMap<string, string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      join(root, ".cache/tools/node_modules/pnpm/bin/pnpm.cjs"),
      ...["--recursive", "--filter=./packages/*", "pack", "--json", "--pack-destination", folder],
    ],
    { cwd: root, encoding: "utf8", env: { ...process.env, CI: "true" }, maxBuffer: 64 * 1024 * 1024 },
  );
  if (status !== 0) throw new Error(`pnpm pack failed: ${stdout}${stderr}`);
  const packed = JSON.parse(stdout) as { readonly name: string; readonly filename: string }[];
  return new Map(packed.map(({ name, filename }) => [name, filename]));
}
