import { constants } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type HostSpace, LinuxHost } from "@cpr/core";

/** A file's contents, a link, something that this user may not use, or a file system that is mounted there. */
export type FakeHostFile =
  | string
  | Uint8Array
  | { readonly link: string }
  | { readonly forbidden: true }
  | { readonly space: HostSpace };

/** Everything that a {@link FakeHost} has, by path. */
export type FakeHostFiles = Readonly<Record<string, FakeHostFile>>;

/** What Linux would tell on a host that has just these files. Folders are there if something is in them. */
export class FakeHost extends LinuxHost {
  readonly #files: ReadonlyMap<string, FakeHostFile>;

  constructor(files: FakeHostFiles = {}) {
    super();
    this.#files = new Map(Object.entries(files));
  }

  override bytes(path: string): Uint8Array | undefined {
    const file = this.#files.get(this.target(path));
    return typeof file === "string" ? Buffer.from(file) : file instanceof Uint8Array ? file : undefined;
  }

  override names(path: string): readonly string[] {
    const folder = this.target(path).replace(/\/?$/, "/");
    const below = [...this.#files.keys()].filter((each) => each.startsWith(folder));
    return [...new Set(below.map((each) => each.slice(folder.length).split("/")[0] ?? ""))].filter(Boolean).sort();
  }

  override target(path: string): string {
    let found = "/";
    for (const name of path.split("/").filter(Boolean)) {
      found = join(found, name);
      const file = this.#files.get(found);
      if (typeof file === "object" && "link" in file) found = this.target(resolve(dirname(found), file.link));
    }
    return found;
  }

  override access(path: string, mode?: number): "usable" | "forbidden" | "absent" {
    const target = this.target(path);
    const file = this.#files.get(target);
    if (file === undefined && this.names(target).length === 0) return "absent";
    return typeof file === "object" && "forbidden" in file && mode !== constants.F_OK ? "forbidden" : "usable";
  }

  override async space(path: string): Promise<HostSpace | undefined> {
    const file = this.#files.get(path);
    if (typeof file === "object" && "space" in file) return file.space;
    return path === "/" ? undefined : this.space(dirname(path));
  }
}
