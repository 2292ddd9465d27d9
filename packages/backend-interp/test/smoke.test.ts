import { expect, test } from "vitest";
import { makeGuest } from "./support/guest.ts";

test("real mode: a loop and HLT", () => {
  const { processor, ram } = makeGuest();
  ram.set([0xb9, 0x0a, 0x00, 0x31, 0xc0, 0x40, 0xe2, 0xfd, 0xf4], 0x7c00);
  processor.registers.writeSegment(1, { ...processor.registers.readSegment(1), selector: 0, base: 0n });
  processor.registers.rip = 0x7c00n;
  processor.modeChanged();
  expect(processor.run(1000)).toBe("idle");
  expect(processor.registers.low(0)).toBe(10);
  expect(processor.executed).toBe(2 + 20 + 1);
});
