import { readlinkSync } from "node:fs";
import { createMemfd, nativeErrors } from "@cpr/native-mman";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { MemfdHostCheck } from "../src/index.ts";

hostCheckCompliance({ name: "memfd", create: () => new MemfdHostCheck(), hosts: {} });

const failing = (error: Error) =>
  new MemfdHostCheck(() => {
    throw error;
  }).examine();

test("makes one, and closes it", async () => {
  let descriptor = -1;
  const check = new MemfdHostCheck((name) => {
    descriptor = createMemfd(name);
    return descriptor;
  });
  expect(await check.examine()).toEqual([{ subject: "memfd_create", status: "ready", found: "works" }]);
  expect(() => readlinkSync(`/proc/self/fd/${descriptor}`)).toThrow();
});

test("says why there is none, and what to do", async () => {
  const forbidden = Object.assign(new Error("EACCES"), { code: "EACCES", errno: -13, syscall: "memfd_create" });
  expect(await failing(forbidden)).toMatchObject([
    { status: "missing", found: "Permission denied", remedy: expect.stringContaining("sysctl vm.memfd_noexec=1") },
  ]);
  const full = Object.assign(new Error("EMFILE"), { code: "EMFILE", errno: -24, syscall: "memfd_create" });
  expect(await failing(full)).toMatchObject([{ status: "missing", remedy: expect.stringContaining("/dev/shm") }]);
  const uncompiled = nativeErrors.ERR_CPR_NATIVE_UNAVAILABLE({ reason: "it was not compiled" });
  expect(await failing(uncompiled)).toMatchObject([{ found: uncompiled.message, remedy: uncompiled.hint }]);
});
