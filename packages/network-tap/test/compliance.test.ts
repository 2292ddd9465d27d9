import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { networkBackendCases } from "@cpr/testkit/network-backend";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { describe, expect, it } from "vitest";
import { TapBackend } from "../src/index.ts";
import { canMakeTaps, tapPlace } from "./tap-place.ts";

pluginPackageCompliance(import.meta.url);

describe("network backend tap", () => {
  it("does what the suite asks, in a network namespace of its own", ({ skip }) => {
    skip(!canMakeTaps(), "NOTE: taps need root and /dev/net/tun");
    const child = spawnSync("unshare", ["--net", process.execPath, join(import.meta.dirname, "in-namespace.ts")], {
      encoding: "utf8",
    });
    expect(child.stderr).toBe("");
    const results: readonly { name: string; failure?: string }[] = JSON.parse(child.stdout);
    expect(results.filter(({ failure }) => failure !== undefined)).toEqual([]);
    const cases = networkBackendCases({ name: "tap", create: () => new TapBackend(), place: tapPlace });
    expect(results.map(({ name }) => name)).toEqual(cases.map(({ name }) => name));
  });
});
