import { expect, test } from "vitest";
import { ProtectedGuest } from "../support/protected-guest.ts";

const place = 0x3_0000;
const enable = (msr: number, value: number) =>
  `mov ecx, ${msr}\n mov eax, ${value}\n xor edx, edx\n wrmsr\n rdtsc\n hlt`;

/** Turns a counter value into nanoseconds as a guest does (KVM msr.rst, MSR_KVM_SYSTEM_TIME_NEW). */
function timeAt(view: DataView, tsc: bigint): bigint {
  const shift = view.getInt8(28);
  const delta = tsc - view.getBigUint64(8, true);
  const scaled = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift);
  return view.getBigUint64(16, true) + ((scaled * BigInt(view.getUint32(24, true))) >> 32n);
}

test("kvmclock turns the time-stamp counter into virtual time", () => {
  const guest = new ProtectedGuest(32);
  guest.guest.clock.time = 5_000;
  guest.load(enable(0x4b56_4d01, place + 1)).run();
  const { buffer, byteOffset } = guest.processor.ram.u8;
  const view = new DataView(buffer, byteOffset + place, 32);
  expect(view.getUint32(0, true) % 2).toBe(0);
  expect(view.getUint8(29)).toBe(1);
  expect(timeAt(view, guest.processor.timeStamp.read())).toBe(5_000n);
  guest.guest.clock.time = 3_000_005_000;
  const { timeStamp } = guest.processor;
  expect(Number(timeAt(view, timeStamp.read()))).toBeCloseTo(3_000_005_000, -1);

  // Another frequency, and a counter that was moved: the guest is told anew, and its time goes on.
  timeStamp.frequency = 2_596_138_000;
  timeStamp.restore(123_456n, 0n);
  const before = timeAt(view, timeStamp.read());
  expect(Number(before)).toBeCloseTo(3_000_005_000, -1);
  guest.guest.clock.time += 1_000_000_000;
  expect(Number(timeAt(view, timeStamp.read()) - before)).toBeCloseTo(1_000_000_000, -1);
});

test("kvmclock's wall clock is the host's, less the time since the clock's zero", () => {
  const guest = new ProtectedGuest(32);
  guest.guest.clock.time = 2_000_000_000;
  guest.guest.clock.wallClock = () => 1_700_000_000_123_456_789n;
  guest.load(enable(0x4b56_4d00, place)).run();
  const { buffer, byteOffset } = guest.processor.ram.u8;
  const view = new DataView(buffer, byteOffset + place, 12);
  const time = BigInt(view.getUint32(4, true)) * 1_000_000_000n + BigInt(view.getUint32(8, true));
  expect(time).toBe(1_699_999_998_123_456_789n);
});

test("a place for kvmclock that is not RAM has no effect", () => {
  const guest = new ProtectedGuest(32);
  guest.load(enable(0x4b56_4d01, 0xf000_0001)).run();
  expect(guest.processor.modelRegisters.read(0x4b56_4d01)).toBe(0xf000_0001n);
});
