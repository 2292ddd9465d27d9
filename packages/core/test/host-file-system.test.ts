import { expect, test } from "vitest";
import { hostFileSystem } from "../src/host-file-system.ts";

test("what is on tmpfs does not outlive the host's kernel, what is on a disk does", () => {
  expect(hostFileSystem("/dev/shm")).toEqual({ kind: "tmpfs", survivesReboot: false });
  // /proc stands for all that is not in the memory of the kernel's page cache.
  expect(hostFileSystem("/proc")).toEqual({ kind: "other", survivesReboot: true });
});

test("a path that is not there is told by the system", () => {
  expect(() => hostFileSystem("/nowhere/at/all")).toThrow(/ENOENT/);
});
