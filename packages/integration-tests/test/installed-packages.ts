import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { packPackages } from "../../../tools/pack.ts";
import { root, workspacePackages } from "../../../tools/workspace.ts";

const run = promisify(execFile);
const pnpm = join(root, ".cache/tools/node_modules/pnpm/bin/pnpm.cjs");

/**
 * A folder outside the checkout where our packages can be installed as their users get them: packed. Packages by others
 * are links to what the checkout has installed, so that no registry is asked.
 */
export class PackedRegistry {
  readonly #folder: string;
  readonly #sources: Readonly<Record<string, string>>;

  /** Packs the workspace into a folder of its own below `folder`. `dist` must have been built. */
  constructor(folder: string) {
    this.#folder = folder;
    const packed = [...packPackages(join(folder, "tarballs"))].map(([name, file]) => [name, `file:${file}`]);
    this.#sources = Object.fromEntries([...linksToOthers(), ...packed]);
  }

  /** Installs what the manifest asks for into a folder, which is made if need be; its manifest is replaced. */
  async install(name: string, manifest: Readonly<Record<string, unknown>>): Promise<string> {
    const folder = join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    const settings = { overrides: this.#sources, onlyBuiltDependencies: ["@cpr/native-mman", "@cpr/native-socket"] };
    writeFileSync(join(folder, "package.json"), JSON.stringify({ ...manifest, pnpm: settings }));
    await run(process.execPath, [pnpm, "install", "--offline"], { cwd: folder, env: { ...process.env, CI: "true" } });
    return folder;
  }

  /** Packs a package that is no part of the workspace and returns the tarball's path. */
  async pack(folder: string): Promise<string> {
    const { stdout } = await run(process.execPath, [pnpm, "pack", "--json", "--pack-destination", this.#folder], {
      cwd: folder,
    });
    return (JSON.parse(stdout) as { readonly filename: string }).filename;
  }
}

/** For each package by others that one of ours depends on, a link to where this checkout has it. */
function linksToOthers(): [string, string][] {
  const folders = [root, ...workspacePackages().map(({ path }) => path)];
  return folders.flatMap((folder) => {
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<
      string,
      object | undefined
    >;
    const names = [manifest.dependencies, manifest.devDependencies].flatMap((field) => Object.keys(field ?? {}));
    return names
      .filter((name) => !name.startsWith("@cpr/") && existsSync(join(folder, "node_modules", name)))
      .map((name): [string, string] => [name, `link:${realpathSync(join(folder, "node_modules", name))}`]);
  });
}
