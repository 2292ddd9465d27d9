/**
 * Runs the cases of the suite in the network namespace that this process was started in (`unshare --net`), where taps and bridges
 * disturb nobody, and writes what failed as JSON. It runs the built code: `node in-namespace.ts`.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { TapBackend } from "@cpr/network-tap";
import { networkBackendCases } from "@cpr/testkit/network-backend";
import { tapPlace } from "./tap-place.ts";

execFileSync("ip", ["link", "set", "lo", "up"]);
const results: { name: string; failure?: string }[] = [];
for (const { name, run } of networkBackendCases({ name: "tap", create: () => new TapBackend(), place: tapPlace })) {
  try {
    await run();
    results.push({ name });
  } catch (error) {
    results.push({ name, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}
writeFileSync(process.stdout.fd, JSON.stringify(results));
process.exit(0);
