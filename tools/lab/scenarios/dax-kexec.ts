import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { executeSecondKernel, loadSecondKernel } from "../kexec.ts";
import { makeDeviceDax } from "../persistent-memory.ts";
import type { Scenario } from "../scenario.ts";

const note = "/var/before.json";

export const scenario: Scenario = {
  description: "The lab host's kernel is replaced by another one; persistent memory and the disk are still there",
  seconds: 480,
  host: { nvdimms: ["4608M"], disk: "1G", secondKernel: true },
  async run({ report }) {
    const device = await makeDeviceDax();
    report(`${device} is there on Linux ${release()}`);
    writeFileSync(note, JSON.stringify({ device, kernel: release() }));
    loadSecondKernel();
    executeSecondKernel();
  },
  async afterKexec({ report }) {
    const { device, kernel } = JSON.parse(readFileSync(note, "utf8")) as { device: string; kernel: string };
    assert.notEqual(release(), kernel, "the kernel");
    assert.ok(statSync(device).isCharacterDevice(), device);
    report(`${device} is there on Linux ${release()}`);
  },
};
