import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { StoredCheckpoint } from "../src/stored-checkpoint.ts";
import { scratchHost } from "./scratch.ts";

function scratchCheckpoint(): StoredCheckpoint {
  const checkpoint = new StoredCheckpoint(join(scratchHost().state, "checkpoint"));
  mkdirSync(dirname(checkpoint.path), { recursive: true });
  return checkpoint;
}

it("is ready only while no process has it", () => {
  const checkpoint = scratchCheckpoint();
  expect([checkpoint.state, checkpoint.facts]).toEqual(["none", undefined]);
  writeFileSync(checkpoint.pathInUse, "state");
  expect(checkpoint.state).toBe("in-use");
  checkpoint.release();
  expect(checkpoint.state).toBe("ready");
  expect(checkpoint.facts).toMatchObject({ path: checkpoint.path, bytes: 5 });
  checkpoint.take();
  expect(checkpoint.state).toBe("in-use");
  expect(checkpoint.facts).toMatchObject({ path: checkpoint.pathInUse, bytes: 5 });
  checkpoint.spend();
  expect(checkpoint.state).toBe("none");
});

it("is in use as long as a file says so, and is discarded whole", () => {
  const checkpoint = scratchCheckpoint();
  writeFileSync(checkpoint.path, "");
  writeFileSync(checkpoint.pathInUse, "");
  expect(checkpoint.state).toBe("in-use");
  checkpoint.discard();
  expect(checkpoint.state).toBe("none");
  checkpoint.discard();
});
