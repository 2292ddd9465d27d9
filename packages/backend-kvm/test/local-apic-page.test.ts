import { type LocalApicState, localApicRegister as register } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { readLocalApic, timerMode, toMsi, writeLocalApic } from "../src/local-apic-page.ts";

const words = (first: number): number[] => Array.from({ length: 8 }, (_, index) => first + index);

const state: LocalApicState = {
  apicBase: 0xfee0_0900n,
  id: 3,
  taskPriority: 0x20,
  logicalDestination: 0x0800_0000,
  destinationFormat: 0xffff_ffff,
  spurious: 0x1ff,
  inService: words(1),
  triggerMode: words(0x100),
  interruptRequest: words(0x8000_0000),
  errorStatus: 0x40,
  errors: 0,
  command: 0x0200_0000_0000_00fdn,
  localVectors: [0x2_00ec, 0x1_0000, 0x1_0400, 0x8700, 0x400, 0xfe],
  divideConfiguration: 0xb,
  initialCount: 1_000_000,
  timerDeadline: 5_400_000n,
  tscDeadline: 0n,
  externalPending: false,
  nmiPending: false,
  initPending: false,
  startupPending: false,
  startupVector: 0,
};

describe("the page of a local APIC's registers", () => {
  it("gives the state that was written to it", () => {
    const page = new DataView(new ArrayBuffer(1024));
    const timer = writeLocalApic(page, state, 5_000_000);
    expect(timer).toEqual({ currentCount: 400_000, tscDeadline: 0n });
    expect(timerMode(page)).toBe("periodic");
    expect(readLocalApic(page, { base: state.apicBase, timer, now: 5_000_000 })).toEqual(state);
  });

  it("lets a deadline that has passed fire at once, and none never", () => {
    const page = new DataView(new ArrayBuffer(1024));
    expect(writeLocalApic(page, state, 9_000_000).currentCount).toBe(1);
    const disarmed = { ...state, timerDeadline: 0xffff_ffff_ffff_ffffn };
    const timer = writeLocalApic(page, disarmed, 9_000_000);
    expect(timer.currentCount).toBe(0);
    expect(readLocalApic(page, { base: state.apicBase, timer, now: 9_000_000 })).toEqual(disarmed);
  });

  it("leaves out what is the kernel's own: delivery status and remote IRR", () => {
    const page = new DataView(new ArrayBuffer(1024));
    const timer = writeLocalApic(page, state, 0);
    page.setUint32(register.commandLow, 0x10fd, true);
    page.setUint32(register.lint0, 0xd700, true);
    const read = readLocalApic(page, { base: state.apicBase, timer, now: 0 });
    expect([read.command & 0xffff_ffffn, read.localVectors[3]]).toEqual([0xfdn, 0x8700]);
  });
});

describe("interrupt messages", () => {
  it("are what a device would write", () => {
    const message = { destination: 2, logical: false, deliveryMode: "fixed", vector: 0x51, trigger: "level" } as const;
    expect(toMsi(message)).toEqual({ address: 0xfee0_2000, data: 0xc051 });
    const logical = {
      ...message,
      destination: 0xff,
      logical: true,
      deliveryMode: "lowest-priority",
      trigger: "edge",
    } as const;
    expect(toMsi(logical)).toEqual({ address: 0xfeef_f00c, data: 0x4151 });
    expect(toMsi({ ...message, deliveryMode: "startup", vector: 0x9a, trigger: "edge" }).data).toBe(0x469a);
  });
});
