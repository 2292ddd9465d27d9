import { expect, it } from "vitest";
import { describeProcessor, type ProcessorState, processorState } from "../src/index.ts";
import { zeroState } from "./fakes/fake-plugin.ts";

it("prints a vCPU's registers by their names", () => {
  const state = zeroState(processorState) as ProcessorState;
  state.registers[3] = 0xabcn;
  state.registers[15] = 0xdefn;
  const segments = state.segments.map((segment, index) => ({ ...segment, attributes: index === 2 ? 0xf3 : 0x9b }));
  const text = describeProcessor({ ...state, segments, rip: 0x1000n, rflags: 0x246n, cr0: 0x8001_0011n, activity: 3 });
  expect(text).toMatch(/^RIP=0000000000001000 RFL=00000246 CPL=3 activity=3\n/);
  expect(text).toMatch(/ RBX=0000000000000abc\n/);
  expect(text).toMatch(/ R15=0000000000000def\n/);
  expect(text).toMatch(/\nCS {2}=0000 0{16} 0{8} 009b\n/);
  expect(text).toMatch(/\nCR0=80010011 /);
});
