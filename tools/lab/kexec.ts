import { execFileSync } from "node:child_process";

const run = (...[program, ...words]: [string, ...string[]]): void => {
  execFileSync(program, words, { stdio: ["ignore", "inherit", "inherit"] });
};

/** Loads the second kernel of a lab host that has one, with the command line of this one; it does not run yet. */
export function loadSecondKernel(): void {
  run("kexec", "--load", "/boot/vmlinuz", "--initrd=/boot/initrd.img", "--reuse-cmdline");
}

/** Goes over to the kernel that was loaded, as `systemctl kexec` does in the end: this kernel is gone, and this process. */
export function executeSecondKernel(): never {
  process.chdir("/");
  run("sync");
  run("mount", "-o", "remount,ro", "/var");
  run("kexec", "--exec");
  throw new Error("kexec has come back.");
}
