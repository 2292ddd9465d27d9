/** One entry of an initramfs. Paths have no slash at the start; folders that are not listed are added. */
export type InitramfsEntry =
  | { readonly path: string; readonly kind: "folder" }
  | { readonly path: string; readonly kind: "file"; readonly data: Uint8Array | string; readonly mode?: number }
  | { readonly path: string; readonly kind: "link"; readonly target: string }
  | { readonly path: string; readonly kind: "character-device"; readonly major: number; readonly minor: number };

const formats = { folder: 0o040755, file: 0o100000, link: 0o120777, "character-device": 0o020600 } as const;

/**
 * A cpio archive in the format `newc`, as Linux takes for an initramfs (Documentation/driver-api/early-userspace/
 * buffer-format.rst): all owned by root, all times zero, so that the same entries always give the same bytes.
 */
export function initramfs(entries: readonly InitramfsEntry[]): Uint8Array {
  const complete = new Map<string, InitramfsEntry>();
  for (const entry of entries) {
    const folders = entry.path.split("/").slice(0, -1);
    for (let depth = 1; depth <= folders.length; depth += 1) {
      const path = folders.slice(0, depth).join("/");
      if (!complete.has(path)) complete.set(path, { path, kind: "folder" });
    }
    complete.set(entry.path, entry);
  }
  const chunks: Uint8Array[] = [];
  let inode = 0;
  for (const entry of complete.values()) {
    inode += 1;
    chunks.push(...record(inode, entry));
  }
  chunks.push(...record(0, { path: "TRAILER!!!", kind: "file", data: "", mode: 0 }));
  return new Uint8Array(Buffer.concat(chunks));
}

/** Header, name and data of one entry; each part is padded to four bytes. */
function record(inode: number, entry: InitramfsEntry): Uint8Array[] {
  const data = Buffer.from(entry.kind === "file" ? entry.data : entry.kind === "link" ? entry.target : "");
  const name = Buffer.from(`${entry.path}\0`);
  const mode =
    entry.path === "TRAILER!!!" ? 0 : formats[entry.kind] | (entry.kind === "file" ? (entry.mode ?? 0o644) : 0);
  const [major, minor] = entry.kind === "character-device" ? [entry.major, entry.minor] : [0, 0];
  const links = entry.kind === "folder" ? 2 : 1;
  //              ino    mode  uid gid nlink mtime size         dev   rdev          namesize     check
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return [padded(Buffer.concat([header, name])), padded(data)];
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
