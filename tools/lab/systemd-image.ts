import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { cachedDebianPackages } from "../debian-archive.ts";
import { cachedImage, labCache } from "./system-image.ts";

const run = promisify(execFile);

/**
 * systemd, udev, and what a host has besides: a shell and its common commands, kexec, ndctl for persistent memory. base-passwd
 * has the users. Node needs the last two.
 */
const packages =
  "systemd-sysv udev base-files base-passwd dash coreutils grep kexec-tools ndctl libstdc++6 libatomic1".split(" ");

/** Where the root has what other lab hosts have at `/usr`: Node is there. */
export const systemFolder = "opt/lab";

/** Runs the task of the lab host once all has started that is to start, with the console as its terminal. */
const taskUnit = `[Unit]
Description=The lab host's task
After=multi-user.target

[Service]
Type=exec
ExecStart=/bin/sh /lab/run
WorkingDirectory=/cpr
Environment=PATH=/lab/programs:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux
StandardInput=tty-force
StandardOutput=tty
TTYPath=/dev/console
`;

const unitFolder = "etc/systemd/system";
const files = new Map([
  ["etc/hostname", "lab\n"],
  // A host that has none is booted for the first time, which enables every service.
  ["etc/machine-id", `${"0".repeat(31)}1\n`],
  // Groups that udev's rules name, which its installation would have made.
  ["usr/lib/sysusers.d/lab.conf", ["kvm", "input", "render", "sgx"].map((name) => `g ${name} -\n`).join("")],
  [`${unitFolder}/lab-task.service`, taskUnit],
]);
const links = new Map([
  [`${unitFolder}/multi-user.target.wants/lab-task.service`, "../lab-task.service"],
  // The console is the task's.
  [`${unitFolder}/getty.target`, "/dev/null"],
  ["usr/local/bin/node", `/${systemFolder}/bin/node`],
  ["usr/bin/cpr", "/lab/programs/cpr"],
]);
// With the last one, the journal is kept when the kernel is replaced.
const folders = ["cpr", "lab", systemFolder, "var/log/journal"];

/**
 * A root whose init is Debian's systemd, as an ext4 image, made when something that goes into it has changed. The packages are
 * unpacked, not installed: systemd itself brings about what is missing in `/etc` and `/var`.
 *
 * @returns its path
 * @throws {DebianArchiveError} the first time, when no archive can be reached
 */
export async function systemdImage(log: (message: string) => void): Promise<string> {
  const identity = createHash("sha256")
    .update(JSON.stringify([packages, [...files], [...links], folders]))
    .digest("hex");
  return cachedImage("systemd", identity, async (folder, makeImage) => {
    log("Making the root of a lab host with systemd ...");
    const unpacked = join(labCache, `packages-${packages.join("-")}`);
    await run("cp", ["-a", `${await cachedDebianPackages(unpacked, packages, { dependencies: true })}/.`, folder]);
    for (const path of folders) await mkdir(join(folder, path), { recursive: true });
    for (const name of ["passwd", "group"]) {
      await copyFile(join(folder, "usr/share/base-passwd", `${name}.master`), join(folder, "etc", name));
    }
    for (const [path, text] of files) await writeFile(join(folder, path), text);
    for (const [path, target] of links) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await symlink(target, join(folder, path));
    }
    return makeImage("4G");
  });
}
