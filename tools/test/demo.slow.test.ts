import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "../workspace.ts";

it("shows a guest that goes on in a new process", { timeout: 400_000 }, () => {
  const { status, stdout } = spawnSync(process.execPath, [join(root, "tools/demo.ts")], { encoding: "utf8" });
  expect(stdout).toContain("VM status: paused (postmigrate)");
  expect(stdout).toContain("VM status: paused (inmigrate)");
  expect(stdout).toMatch(/the guest stood still for \d+ ms/);
  expect(stdout).toMatch(/it counted on from \d+ to \d+/);
  expect(status).toBe(0);
});
