import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

/** A request that every file system answers (linux/fs.h FIGETBSZ): the size of its blocks. */
const blockSizeRequest = 2;

/** A C library whose ioctl(2) is interrupted three times by a signal, each time that it is asked for the size of blocks. */
const interruptedLibrary = `
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int ioctl(int descriptor, unsigned long request, ...) {
  static int interruptions = 3;
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  if (request == ${blockSizeRequest} && interruptions > 0) {
    interruptions -= 1;
    fputs("interrupted\\n", stderr);
    errno = EINTR;
    return -1;
  }
  return syscall(SYS_ioctl, descriptor, request, argument);
}
`;

test("an ioctl that a signal interrupts is made again", () => {
  const folder = mkdtempSync(join(tmpdir(), "cpr-kvm-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [source, library, file] = ["ioctl.c", "ioctl.so", "file"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(source, interruptedLibrary);
  writeFileSync(file, "");
  const compiler = spawnSync("gcc", ["-shared", "-fPIC", "-o", library, source], { encoding: "utf8" });
  expect(compiler.status, compiler.stderr).toBe(0);
  const addon = fileURLToPath(new URL("../build/kvm.node", import.meta.url));
  const script = `
    const addon = require(${JSON.stringify(addon)});
    const bytes = new Uint8Array(4);
    const status = addon.ioctl(addon.open(${JSON.stringify(file)}), ${blockSizeRequest}, bytes);
    console.log(status, new Uint32Array(bytes.buffer)[0] > 0);
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", script], {
    encoding: "utf8",
    env: { ...process.env, LD_PRELOAD: library },
  });
  expect({ stdout, interruptions: stderr.match(/interrupted/g)?.length }).toEqual({
    stdout: "0 true\n",
    interruptions: 3,
  });
});
