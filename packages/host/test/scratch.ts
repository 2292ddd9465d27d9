import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { HostFolders } from "../src/host-folders.ts";

/** Folders of a host of its own, removed when the test ends. */
export function scratchHost(): HostFolders {
  const folder = mkdtempSync(join(tmpdir(), "cpr-host-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return { state: join(folder, "state"), runtime: join(folder, "run") };
}
