import { describe, expect, it } from "vitest";
import { GuestClock } from "../src/guest-clock.ts";
import type { KvmVcpu, MsrValue } from "../src/kvm-vcpu.ts";
import type { KvmVm } from "../src/kvm-vm.ts";

/** What the host's time-stamp counter and kvmclock are at; both run whatever the VM does. */
class Host {
  counter = 1_000_000n;
  clock = 0n;
  /** kvmclock of the VM, as far as it is ahead of the host's. */
  ahead = 0n;
}

/** A vCPU of a kernel that has its counter at an offset from the host's, or not at all. */
function fakeVcpu(host: Host, { offset = 0n, settable = true, attribute = true } = {}) {
  const msrs = new Map<number, bigint>();
  const written: number[] = [];
  const vcpu = {
    tscKhz: () => 2_500_000,
    setTscKhz: () => undefined,
    tscOffset: () => (attribute ? offset : undefined),
    setTscOffset: (value: bigint) => {
      if (settable) offset = value;
    },
    msrs: (indices: readonly number[]) =>
      indices.map((index) => ({
        index,
        value: index === 0x10 ? BigInt.asUintN(64, host.counter + offset) : (msrs.get(index) ?? 0n),
      })),
    setMsrs: (values: readonly MsrValue[]) => {
      for (const { index, value } of values) {
        if (index === 0x10) offset = BigInt.asUintN(64, value - host.counter);
        else msrs.set(index, value);
        written.push(index);
      }
      return undefined;
    },
  };
  return { vcpu: vcpu as unknown as KvmVcpu, counter: () => BigInt.asUintN(64, host.counter + offset), written, msrs };
}

const fakeVm = (host: Host): KvmVm =>
  ({
    clock: () => host.clock + host.ahead,
    setClock: (value: bigint) => {
      host.ahead = value - host.clock;
    },
  }) as unknown as KvmVm;

describe("the guest's clocks", () => {
  it.each([true, false])("stand still while it does, and go on from there (offsets can be set: %s)", (attribute) => {
    const host = new Host();
    const first = fakeVcpu(host, { attribute });
    const second = fakeVcpu(host, { attribute });
    const clock = new GuestClock(fakeVm(host), [first.vcpu, second.vcpu]);
    clock.stop();
    const stopped = clock.save(0);
    host.counter += 5_000_000n;
    host.clock += 2_000_000n;
    expect(clock.save(0)).toEqual(stopped);
    clock.start();
    expect([first.counter(), second.counter()]).toEqual([stopped.tsc, stopped.tsc]);
    expect(host.clock + host.ahead).toBe(stopped.systemTime);
    host.counter += 10n;
    host.clock += 4n;
    clock.stop();
    expect(clock.save(1)).toEqual({ ...stopped, tsc: stopped.tsc + 10n, systemTime: stopped.systemTime + 4n });
  });

  it("keep counters apart that the guest has moved apart", () => {
    const host = new Host();
    const first = fakeVcpu(host);
    const second = fakeVcpu(host, { offset: 700n });
    const clock = new GuestClock(fakeVm(host), [first.vcpu, second.vcpu]);
    clock.stop();
    expect(clock.save(1).tsc - clock.save(0).tsc).toBe(700n);
    host.counter += 1_000n;
    clock.start();
    expect(second.counter() - first.counter()).toBe(700n);
  });

  it("begin where a restored state has them, on another host", () => {
    const host = new Host();
    const { vcpu, counter, msrs, written } = fakeVcpu(host);
    const clock = new GuestClock(fakeVm(host), [vcpu]);
    const state = { tsc: 123n, tscFrequency: 2_500_000_000n, systemTime: 456n };
    clock.restore(0, state, [{ index: 0x4b56_4d01, value: 0x7001n }]);
    expect(clock.save(0)).toEqual(state);
    // The kernel would write to RAM, which is not to be touched before the guest goes on.
    expect(written).toEqual([]);
    clock.start();
    expect(counter()).toBe(123n);
    expect(host.clock + host.ahead).toBe(456n);
    expect([...msrs]).toEqual([
      [0x4b56_4d00, 0n],
      [0x4b56_4d01, 0x7001n],
    ]);
  });

  it("refuse a frequency that the host does not have, unless it scales", () => {
    const host = new Host();
    const clock = new GuestClock(fakeVm(host), [fakeVcpu(host).vcpu]);
    const state = (tscFrequency: bigint) => ({ tsc: 0n, tscFrequency, systemTime: 0n });
    expect(clock.problem(state(1_000_000_000n), false)).toMatch(/runs at 1000000 kHz, and this host's only at 2500000/);
    expect(clock.problem(state(1_000_000_000n), true)).toBeUndefined();
    // Two calibrations of the same counter.
    expect(clock.problem(state(2_500_400_000n), false)).toBeUndefined();
  });

  it("never go backwards where the guest reads the host's counter as it is", () => {
    const host = new Host();
    const { vcpu, counter } = fakeVcpu(host, { settable: false });
    const clock = new GuestClock(fakeVm(host), [vcpu]);
    const state = (tsc: bigint) => ({ tsc, tscFrequency: 2_500_000_000n, systemTime: 0n });
    expect(clock.problem(state(host.counter + 1n), false)).toMatch(/ahead of this host's/);
    expect(clock.problem(state(host.counter), false)).toBeUndefined();
    clock.restore(0, state(5n), []);
    clock.start();
    expect(counter()).toBe(host.counter);
  });
});
