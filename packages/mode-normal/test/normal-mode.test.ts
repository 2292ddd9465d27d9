import { expect, it } from "vitest";
import { NormalMode } from "../src/index.ts";

it("accepts every transport, and leaves in place only what another process can find", () => {
  const mode = new NormalMode();
  expect(mode.judgeOutgoing()).toEqual([]);
  expect(mode.judgeIncoming()).toEqual([]);
  expect(mode.keepsInPlace({ shared: true, survivesProcessExit: true, survivesReboot: false })).toBe(true);
  expect(mode.keepsInPlace({ shared: true, survivesProcessExit: false, survivesReboot: false })).toBe(false);
  expect(mode.keepsInPlace({ shared: false, survivesProcessExit: false, survivesReboot: false })).toBe(false);
});
