import { beforeEach, describe, expect, test } from "vitest";
import { modeFor, modeOf, modeWith } from "../../src/decode/mode.ts";
import {
  cr0At,
  cr4At,
  eferAt,
  eflagsAt,
  privilegeAt,
  segmentField,
  segmentSize,
  segmentsAt,
} from "../../src/layout.ts";
import { coreMemory } from "../support/decoding.ts";

const core = coreMemory();
const es = 0;
const cs = 1;
const ss = 2;

function setSegment(index: number, attributes: number, base = 0, limit = 0xffff_ffff): void {
  const at = segmentsAt + index * segmentSize;
  core.u64[(at + segmentField.base) >> 3] = BigInt(base);
  core.u32[(at + segmentField.limit) >> 2] = limit;
  core.u16[(at + segmentField.attributes) >> 1] = attributes;
  core.u32[(at + segmentField.unusable) >> 2] = 0;
}

/** Attributes as in a descriptor: present, ordinary, accessed; 32 bits wide, granular. */
const code32 = 0xc09b;
const code64 = 0xa09b;
const data32 = 0xc093;

describe("the current mode", () => {
  beforeEach(() => {
    core.u64[cr0At >> 3] = 0x8000_0033n;
    core.u64[cr4At >> 3] = 0x600n;
    core.u64[eferAt >> 3] = 0n;
    core.u32[eflagsAt >> 2] = 2;
    core.u32[privilegeAt >> 2] = 0;
    setSegment(cs, code32);
    for (const index of [0, 2, 3]) setSegment(index, data32);
  });

  test("of flat 32-bit code", () => {
    expect(modeFor(core)).toBe(modeWith({ code: 32, stack32: true, flat: true, protectedMode: true }));
    expect(modeFor(core)).toMatchObject({ long: false, size: 4, stackSize: 4, flat: true, vectorsAllowed: "yes" });
  });

  test("is 64 bits only if long mode is active and CS.L is set", () => {
    setSegment(cs, code64);
    expect(modeFor(core).long).toBe(false);
    core.u64[eferAt >> 3] = 0x500n;
    expect(modeFor(core)).toBe(modeWith({ code: 64 }));
    setSegment(cs, code32);
    expect(modeFor(core)).toMatchObject({ long: false, size: 4 });
  });

  test.each([
    ["a base", () => setSegment(es, data32, 0x1000)],
    ["a limit", () => setSegment(ss, data32, 0, 0xffff)],
    ["data that cannot be written", () => setSegment(es, data32 & ~2)],
    ["expand-down data", () => setSegment(es, data32 | 4)],
    [
      "a null selector",
      () => {
        core.u32[(segmentsAt + segmentField.unusable) >> 2] = 1;
      },
    ],
  ])("is not flat with %s", (_what, change) => {
    change();
    expect(modeFor(core).flat).toBe(false);
  });

  test("tells user from supervisor, real-address and virtual-8086 mode, and the stack's size", () => {
    core.u32[privilegeAt >> 2] = 3;
    expect(modeFor(core).user).toBe(true);
    setSegment(ss, data32 & ~0x4000);
    expect(modeFor(core).stackSize).toBe(2);
    core.u32[eflagsAt >> 2] = 0x2_0002;
    expect(modeFor(core).protectedMode).toBe(false);
    core.u32[eflagsAt >> 2] = 2;
    core.u64[cr0At >> 3] = 0x10n;
    expect(modeFor(core).protectedMode).toBe(false);
  });

  test("says what becomes of SSE instructions", () => {
    core.u64[cr0At >> 3] = 0x8000_003bn;
    expect(modeFor(core).vectorsAllowed).toBe("nm");
    core.u64[cr4At >> 3] = 0n;
    expect(modeFor(core).vectorsAllowed).toBe("ud");
    core.u64[cr4At >> 3] = 0x200n;
    core.u64[cr0At >> 3] = 0x8000_0037n;
    expect(modeFor(core).vectorsAllowed).toBe("ud");
  });

  test("is known by its number", () => {
    const mode = modeFor(core);
    expect(modeOf(mode.number)).toBe(mode);
  });
});
