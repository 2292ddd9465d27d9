import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the checkout, without a slash at the end. */
export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** The parts of a `package.json` that the tools look at. */
export interface Manifest {
  readonly name: string;
  readonly version?: string;
  readonly private?: boolean;
  readonly keywords?: readonly string[];
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly files?: readonly string[];
  readonly bin?: Readonly<Record<string, string>>;
  readonly engines?: Readonly<Record<string, string>>;
  readonly cpr?: {
    readonly api: number;
    readonly plugin: string;
    readonly provides: Readonly<Record<string, string[]>>;
  };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

/** One package of the workspace. */
export interface WorkspacePackage {
  /** The name of its folder under `packages/`. */
  readonly folder: string;
  /** The absolute path of that folder. */
  readonly path: string;
  readonly manifest: Manifest;
}

/** Reads a JSON file. */
export const readJson = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

/** All packages under `packages/` of a checkout, by folder name. */
export function workspacePackages(base: string = root): WorkspacePackage[] {
  return readdirSync(join(base, "packages"))
    .sort()
    .map((folder) => ({ folder, path: join(base, "packages", folder) }))
    .filter(({ path }) => existsSync(join(path, "package.json")))
    .map(({ folder, path }) => ({ folder, path, manifest: readJson(join(path, "package.json")) as Manifest }));
}
