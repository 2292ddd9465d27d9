import { existsSync } from "node:fs";
import { type ExecutionEvent, GuestMemory, layOutRam, TimerQueue } from "@cpr/core";
import { RecordingBus, StoppableClock } from "@cpr/testkit/fakes";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { KvmBackend } from "../src/index.ts";

/** For a host whose kernel has KVM: there it must work. */
const describeOnKvm = describe.runIf(existsSync("/sys/class/misc/kvm"));

const ramSize = 1 << 20;
const origin = 0x1000;

/** A vCPU in real mode in front of a program. */
async function guest(program: readonly number[]) {
  const backend = new KvmBackend();
  const allocation = backend.adoptRam(backend.allocateRam(ramSize).handle);
  const clock = new StoppableClock(0);
  const timers = new TimerQueue(clock);
  const bus = new RecordingBus();
  const events: ExecutionEvent[] = [];
  const execution = await backend.createExecution({
    memory: new GuestMemory(allocation.bytes, layOutRam(ramSize)),
    allocation,
    bus,
    clock,
    timers,
    processorModel: "cpr64-v1",
    processorCount: 1,
    tscFrequency: 1_000_000_000,
    onEvent: (event) => events.push(event),
  });
  onTestFinished(() => execution.close());
  const load = (code: readonly number[]): void => {
    allocation.bytes.set(code, origin);
    const state = execution.saveProcessor(0);
    const segments = state.segments.map((segment) => ({ ...segment, selector: 0, base: 0n }));
    execution.restoreProcessor(0, { ...state, segments, rip: BigInt(origin) });
  };
  load(program);
  return { execution, events, bus, load, clock };
}

/** Jumps to the first byte behind RAM, where the kernel can fetch no instruction. */
const jumpsBeyondRam = [0xea, 0x10, 0x00, 0xff, 0xff]; // jmp 0xffff:0x0010
const reports = [0xb0, 0x42, 0xe6, 0x80, 0xf4]; // mov al, 0x42; out 0x80, al; hlt

describeOnKvm("a guest that KVM cannot execute", () => {
  it("is an internal error, told once with the registers", async () => {
    const { execution, events } = await guest(jumpsBeyondRam);
    execution.start();
    await vi.waitFor(() => expect(events).toHaveLength(1));
    await execution.pause();
    expect(events).toEqual([{ kind: "internal-error", processor: 0, report: expect.any(String) }]);
    expect(events[0]?.report).toMatch(
      /^KVM internal error: .*\(vCPU 0\)\nRIP=0000000000000010 [\s\S]*\nCS {2}=ffff 00000000000ffff0/,
    );
  });

  it("can be reset, and runs again", async () => {
    const { execution, events, bus, load } = await guest(jumpsBeyondRam);
    execution.start();
    await vi.waitFor(() => expect(events).toHaveLength(1));
    await execution.pause();
    execution.resetProcessor(0);
    load(reports);
    execution.start();
    await vi.waitFor(() => expect(bus.accesses.map(({ value }) => value)).toEqual([0x42]));
    expect(events).toHaveLength(1);
  });
});

describeOnKvm("a state that KVM cannot take", () => {
  it("is refused by name before anything changes: a counter at another frequency, a register that is not there", async () => {
    const { execution } = await guest(reports);
    const good = execution.saveProcessor(0);
    const msrs = good.msrs.map((msr) => (msr.index === 0x3b ? { index: 0x1234, value: 1n } : msr));
    for (const [state, problem] of [
      [{ ...good, msrs }, /MSR 0x1234/],
      [{ ...good, cr4: 1n << 20n }, /CR4 has bits set that this CPU model lacks/],
    ] as const) {
      expect(() => execution.checkProcessor(0, state)).toThrow(problem);
      expect(() => execution.restoreProcessor(0, state)).toThrow(problem);
    }
    expect(execution.saveProcessor(0)).toEqual(good);
  });
});
