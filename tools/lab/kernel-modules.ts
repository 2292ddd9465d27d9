import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { InitramfsEntry } from "../initramfs.ts";

/** A loadable module of a kernel. */
export interface KernelModule {
  /** Its name as `lsmod` shows it: with underscores. */
  readonly name: string;
  readonly path: string;
  /** The names of the modules that must be there before it, without theirs. */
  readonly dependencies: readonly string[];
}

const nameOf = (text: string): string => basename(text, ".ko").replaceAll("-", "_");

/** The modules that a module says it depends on: the field `depends` of its section `.modinfo`, a list of C strings. */
export function dependenciesOf(contents: Uint8Array): string[] {
  const fields = Buffer.from(contents)
    .toString("latin1")
    .matchAll(/\0depends=([\w,-]*)\0/g);
  return [...fields].flatMap(([, list = ""]) => list.split(",").filter((name) => name !== "")).map(nameOf);
}

/** The modules in a folder `lib/modules/<release>`, by name. What Debian's packages do not have is its index, modules.dep. */
export class KernelModules {
  readonly #paths: ReadonlyMap<string, string>;
  readonly #builtIn: ReadonlySet<string>;

  constructor(folder: string) {
    const files = globSync("kernel/**/*.ko", { cwd: folder });
    this.#paths = new Map(files.map((file) => [nameOf(file), join(folder, file)]));
    const builtIn = readFileSync(join(folder, "modules.builtin"), "utf8").trim().split("\n");
    this.#builtIn = new Set(builtIn.map(nameOf));
  }

  /**
   * The wanted modules and all that they need, each after what it depends on: the order of `insmod`.
   *
   * @throws {RangeError} if the kernel has no such module, loadable or built in
   */
  inOrder(wanted: readonly string[]): KernelModule[] {
    const ordered = new Map<string, KernelModule>();
    const visit = (name: string): void => {
      if (ordered.has(name) || this.#builtIn.has(name)) return;
      const path = this.#paths.get(name);
      if (path === undefined) throw new RangeError(`The kernel has no module '${name}'.`);
      const dependencies = dependenciesOf(readFileSync(path));
      for (const dependency of dependencies) visit(dependency);
      ordered.set(name, { name, path, dependencies });
    };
    for (const name of wanted) visit(nameOf(name));
    return [...ordered.values()];
  }
}

/** Where modules are in an initramfs, unless it is said otherwise. */
const usualPlace = "modules";

/** The wanted modules of a kernel and all that they need, for an initramfs in which {@link loadModules} loads them. */
export function moduleEntries(folder: string, wanted: readonly string[], place = usualPlace): InitramfsEntry[] {
  const ordered = new KernelModules(folder).inOrder(wanted);
  return [
    { path: `${place}/order`, kind: "file", data: ordered.map(({ name }) => `${name}\n`).join("") },
    ...ordered.map(({ name, path }): InitramfsEntry => {
      return { path: `${place}/${name}.ko`, kind: "file", data: readFileSync(path) };
    }),
  ];
}

/** The lines of a shell script that load what {@link moduleEntries} has put there. */
export const loadModules = (place = usualPlace): string => `while read -r module; do
  insmod "/${place}/$module.ko" || echo "no module $module"
done </${place}/order`;
