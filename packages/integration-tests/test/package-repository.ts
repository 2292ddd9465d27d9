import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A package repository of one package, for `deb [trusted=yes] URL ./`: its files by their paths. */
export function packageRepository(folder: string, name: string, program: string): ReadonlyMap<string, Buffer> {
  const content = join(folder, name);
  mkdirSync(join(content, "DEBIAN"), { recursive: true });
  mkdirSync(join(content, "usr/bin"), { recursive: true });
  const control = [
    ...[`Package: ${name}`, "Version: 1.0", "Architecture: all", "Maintainer: nobody <nobody@example.org>"],
    "Description: says something",
  ].join("\n");
  writeFileSync(join(content, "DEBIAN/control"), `${control}\n`);
  writeFileSync(join(content, "usr/bin", name), program);
  chmodSync(join(content, "usr/bin", name), 0o755);
  const file = `${name}_1.0_all.deb`;
  execFileSync("dpkg-deb", ["--root-owner-group", "--build", content, join(folder, file)], { stdio: "pipe" });
  const archive = readFileSync(join(folder, file));
  const sum = createHash("sha256").update(archive).digest("hex");
  const index = `${control}\nFilename: ./${file}\nSize: ${archive.length}\nSHA256: ${sum}\n\n`;
  return new Map([
    ["/Packages", Buffer.from(index)],
    [`/${file}`, archive],
  ]);
}
