import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { cachedDebianPackages, DebianArchiveError, ensureDebianPackages } from "../../../tools/debian-archive.ts";
import { root } from "../../../tools/workspace.ts";

const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];

const installed = (program: string): string | undefined =>
  folders.map((folder) => join(folder, program)).find((path) => existsSync(path));

/**
 * Finds a program: the host's, or Debian's, unpacked into the cache.
 *
 * @returns its path, or the reason why there is none
 */
export async function findProgram(
  program: string,
  debianPackage: string,
): Promise<{ readonly path: string } | { readonly missing: string }> {
  const present = installed(program);
  if (present !== undefined) return { path: present };
  try {
    const folder = await cachedDebianPackages(join(root, ".cache", "programs", debianPackage), [debianPackage]);
    const path = join(folder, "usr/bin", program);
    return existsSync(path) ? { path } : { missing: `Debian's package ${debianPackage} has no ${program}` };
  } catch (error) {
    if (error instanceof DebianArchiveError) return { missing: error.message };
    throw error;
  }
}

/**
 * Finds sshd, which has to be installed: it has a user and programs at fixed places.
 *
 * @returns its path, or the reason why there is none
 */
export async function findSshServer(): Promise<{ readonly path: string } | { readonly missing: string }> {
  try {
    const there = (): boolean => installed("sshd") !== undefined && installed("ssh") !== undefined;
    await ensureDebianPackages(["openssh-server", "openssh-client"], { unless: there });
    if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    return { path: installed("sshd") as string };
  } catch (error) {
    if (error instanceof DebianArchiveError) return { missing: error.message };
    throw error;
  }
}
