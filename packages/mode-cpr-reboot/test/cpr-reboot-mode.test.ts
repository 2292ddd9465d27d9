import type { MigrationPlan } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { CprRebootMode } from "../src/index.ts";

const plan = (change: Partial<MigrationPlan> = {}): MigrationPlan => ({
  uri: { text: "file:vm.state", scheme: "file", rest: "vm.state" },
  transport: { stores: true, seekable: true, parallel: false, passesDescriptors: false },
  transports: [
    { scheme: "file", supports: { stores: true, seekable: true, parallel: true, passesDescriptors: false } },
    { scheme: "pigeon", supports: { stores: false, seekable: false, parallel: false, passesDescriptors: false } },
    { scheme: "exec", supports: { stores: true, seekable: false, parallel: false, passesDescriptors: false } },
  ],
  capabilities: new Set(["x-ignore-shared"]),
  directIo: false,
  purpose: "restart",
  runState: "running",
  memory: [],
  ...change,
});

describe("the mode cpr-reboot", () => {
  const mode = new CprRebootMode();

  it("accepts what keeps the bytes, with any RAM", () => {
    const supports = { shared: false, survivesProcessExit: false, survivesReboot: false };
    const memory = [{ id: "ram0", location: "anonymous", supports }];
    expect(mode.judgeOutgoing(plan({ memory }))).toEqual([]);
    expect(mode.judgeIncoming(plan({ memory }))).toEqual([]);
  });

  it.each([
    ["postcopy-ram", "Cannot use postcopy with CPR"],
    ["dirty-bitmaps", "Cannot use postcopy with CPR"],
    ["background-snapshot", "Cannot use background snapshot with CPR"],
    ["x-colo", "Cannot use COLO with CPR"],
  ])("refuses %s in QEMU's words", (capability, message) => {
    const judged = plan({ capabilities: new Set([capability]) });
    expect(mode.judgeOutgoing(judged).map((refusal) => refusal.message)).toEqual([message]);
    expect(mode.judgeIncoming(judged).map((refusal) => refusal.message)).toEqual([message]);
  });

  it("refuses a transport that streams, whatever its name, says why, and what to use instead", () => {
    const uri = { text: "pigeon:home", scheme: "pigeon", rest: "home" };
    const transport = { stores: false, seekable: false, parallel: false, passesDescriptors: false };
    for (const refusals of [
      mode.judgeOutgoing(plan({ uri, transport })),
      mode.judgeIncoming(plan({ uri, transport })),
    ]) {
      expect(refusals).toEqual([
        {
          code: "ERR_CPR_REBOOT_STREAMS",
          message:
            "'pigeon:home' cannot be used in mode cpr-reboot: pigeon: streams from one instance to the other, so nothing would be left to restart from",
          hint: "Use a URI that keeps the bytes: file:… or exec:…",
        },
      ]);
    }
    expect(mode.judgeOutgoing(plan({ uri, transport, transports: [] }))).toMatchObject([
      { hint: "No transport is installed that keeps the bytes." },
    ]);
  });

  it("leaves RAM in place that is shared and outlives the process, and no other", () => {
    const keeps = (shared: boolean, survivesProcessExit: boolean): boolean =>
      mode.keepsInPlace({ shared, survivesProcessExit, survivesReboot: false });
    expect([keeps(true, true), keeps(true, false), keeps(false, true), keeps(false, false)]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});
