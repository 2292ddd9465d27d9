import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { KvmBackend } from "../src/index.ts";

function scratchFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "cpr-kvm-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "device");
  writeFileSync(path, "");
  return path;
}

describe("a host without KVM", () => {
  it("says that the device is missing", async () => {
    const backend = new KvmBackend({ device: "/dev/no-kvm" });
    expect(await backend.probe()).toEqual({
      available: false,
      reason: "/dev/no-kvm is missing",
      hint: expect.stringMatching(/modprobe kvm_amd/),
    });
  });

  it("says that the addon was not compiled", async () => {
    const backend = new KvmBackend({ device: scratchFile(), addon: "../build/no-addon.node" });
    expect(await backend.probe()).toMatchObject({
      available: false,
      reason: "its native addon was not compiled or does not load",
      hint: expect.stringMatching(/g\+\+/),
    });
  });

  it("says so when the device is none of KVM's", async () => {
    const backend = new KvmBackend({ device: scratchFile() });
    expect(await backend.probe()).toMatchObject({
      available: false,
      reason: expect.stringMatching(/KVM_GET_API_VERSION failed: ENOTTY/),
    });
  });

  it("refuses to make vCPUs, with the same words", async () => {
    const backend = new KvmBackend({ device: "/dev/no-kvm" });
    await expect(backend.missingFeatures("cpr64-v2")).rejects.toMatchObject({
      code: "ERR_CPR_KVM_UNAVAILABLE",
      message: "KVM cannot be used: /dev/no-kvm is missing",
    });
  });
});
