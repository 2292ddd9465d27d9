import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { InitramfsEntry } from "../initramfs.ts";
import { root } from "../workspace.ts";

/** Folders of other people's packages: of these, the links to our packages are what is taken. */
const isForeign = (path: string): boolean => /(^|\/)node_modules\/(?!@cpr(\/|$))/.test(path);

/** What no process in the lab reads. */
const isLeftOut = (path: string): boolean =>
  /\.(d\.ts|map|o|tsbuildinfo)$|^packages\/[^/]+\/(test|README\.md)$/.test(path);

/**
 * This checkout as entries of an initramfs, below `folder`: sources, what was built from them, and the links by which
 * packages find each other. All that is bundled is in it, and so no package by others is needed.
 */
export function checkoutEntries(folder: string, base: string = root): InitramfsEntry[] {
  const entries: InitramfsEntry[] = [];
  const add = (path: string): void => {
    if (isForeign(path) || isLeftOut(path)) return;
    const source = join(base, path);
    const status = lstatSync(source);
    if (status.isSymbolicLink()) {
      entries.push({ path: join(folder, path), kind: "link", target: readlinkSync(source) });
    } else if (status.isDirectory()) {
      for (const name of readdirSync(source).sort()) add(join(path, name));
    } else if (status.isFile()) {
      entries.push({
        path: join(folder, path),
        kind: "file",
        data: readFileSync(source),
        mode: status.mode & 0o111 ? 0o755 : 0o644,
      });
    }
  };
  for (const path of ["package.json", "bench", "node_modules/@cpr", "packages", "tools"]) add(path);
  return entries;
}
