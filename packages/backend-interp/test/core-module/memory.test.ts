import { describe, expect, it } from "vitest";
import {
  effectiveAddressSlot,
  modifyOffsetSlot,
  segmentField,
  segmentSize,
  segmentsAt,
  xmmAt,
} from "../../src/layout.ts";
import { legacyAddress, type OperationName } from "../../src/operations.ts";
import { CoreHarness, register, temporary } from "./core-harness.ts";
import { unsigned, type Width, widths, written } from "./integer-oracle.ts";

const name = (text: string): OperationName => text as OperationName;
const page = 0xffff_8000_0012_3000n;
const pattern = 0x8877_6655_4433_2211n;

describe.each(["i32", "i64"] as const)("guest memory with %s addresses", (ramAddress) => {
  const fresh = () => {
    const core = new CoreHarness(ramAddress);
    core.mapPage(page, 0x5000n, { write: true });
    core.set(register(3), page);
    core.ramView.setBigUint64(0x5100, pattern, true);
    core.ramView.setBigUint64(0x5108, ~pattern & (2n ** 64n - 1n), true);
    return core;
  };
  const at = { base: register(3), displacement: 0x100 };

  it.each(widths)("loads and stores %i bits in RAM without leaving WebAssembly", (width) => {
    const core = fresh();
    core.set(register(0), 0x0101_0101_0101_0101n);
    core.execute({ name: name(`load${width}-base`), destination: register(0), ...at });
    expect(core.get(register(0))).toBe(written(width, 0x0101_0101_0101_0101n, pattern));
    core.execute({ name: name(`store${width}-base`), source: register(3), ...at });
    expect(core.ramView.getBigUint64(0x5100, true)).toBe(
      width === 64 ? page : (pattern & ~((1n << BigInt(width)) - 1n)) | unsigned(width, page),
    );
    expect(core.slow).toEqual([]);
  });

  it.each(widths)("modifies %i bits in RAM", (width) => {
    const core = fresh();
    core.execute(
      { name: name(`load-modify${width}-base`), destination: temporary(0), ...at },
      { name: name(`not${width}`), destination: temporary(0) },
      { name: name(`store-back${width}`), source: temporary(0) },
    );
    expect(unsigned(width, core.ramView.getBigUint64(0x5100, true))).toBe(unsigned(width, ~pattern));
    expect(core.ramView.getBigUint64(0x5100, true) >> BigInt(width)).toBe(pattern >> BigInt(width));
    expect(core.get(modifyOffsetSlot)).toBe(0x5100n);
    expect(core.slow).toEqual([]);
  });

  it("moves 16 bytes between vectors and RAM", () => {
    const core = fresh();
    core.execute(
      { name: "load128-base", destination: xmmAt + 16, base: register(3), displacement: 0x101 },
      { name: "store-aligned128-base", source: xmmAt + 16, base: register(3), displacement: 0x200 },
    );
    expect(core.get(xmmAt + 16)).toBe(core.ramView.getBigUint64(0x5101, true));
    expect(core.ramView.getBigUint64(0x5208, true)).toBe(core.ramView.getBigUint64(0x5109, true));
    expect(core.slow).toEqual([]);
  });

  it("computes base + index * scale + displacement + segment", () => {
    const core = fresh();
    core.set(register(1), 0x10n);
    core.set(segmentsAt + 4 * segmentSize, 0x20n);
    const full = {
      base: register(3),
      index: register(1),
      scale: 3,
      displacement: -0x40,
      segment: segmentsAt + 4 * segmentSize,
    };
    core.ramView.setUint32(0x5060, 0x1234_5678, true);
    core.execute({ name: "load32-full", destination: register(0), ...full }, { name: "address-full", ...full });
    expect(core.get(register(0))).toBe(0x1234_5678n);
    expect(core.get(effectiveAddressSlot)).toBe(page + 0x60n);
    core.execute({ name: "address-base", base: register(3), displacement: -1 });
    expect(core.get(effectiveAddressSlot)).toBe(page - 1n);
  });
});

describe("accesses that the TLB does not answer", () => {
  const setUp = () => {
    const core = new CoreHarness();
    core.set(register(3), page);
    for (let byte = 0; byte < 32; byte++) core.slowBytes.set(page + BigInt(byte), 0x10 + byte);
    return core;
  };
  const sizes: readonly [Width, bigint][] = [
    [8, 0x10n],
    [16, 0x1110n],
    [32, 0x1312_1110n],
    [64, 0x1716_1514_1312_1110n],
  ];

  it.each(sizes)("go to TypeScript: %i bits", (width, value) => {
    const core = setUp();
    core.execute({ name: name(`load${width}-base`), destination: register(0), base: register(3) });
    expect(core.get(register(0))).toBe(value);
    expect(core.slow).toMatchObject([{ kind: "load", size: width / 8, address: page }]);
    core.set(register(1), 0xf1f2_f3f4_f5f6_f7f8n);
    core.execute({ name: name(`store${width}-base`), source: register(1), base: register(3), displacement: 8 });
    expect(core.slow[1]).toMatchObject({ kind: "store", size: width / 8, address: page + 8n });
    expect(core.slowBytes.get(page + 8n)).toBe(0xf8);
    expect(core.slowBytes.get(page + 8n + BigInt(width / 8))).toBe(0x18 + width / 8);
  });

  it("go to TypeScript with all 16 bytes", () => {
    const core = setUp();
    core.execute(
      { name: "load-aligned128-base", destination: xmmAt, base: register(3) },
      { name: "store128-base", source: xmmAt, base: register(3), displacement: 0x101 },
    );
    expect(core.get(xmmAt)).toBe(0x1716_1514_1312_1110n);
    expect(core.get(xmmAt + 8)).toBe(0x1f1e_1d1c_1b1a_1918n);
    expect(core.slow.map(({ kind, size }) => [kind, size])).toEqual([
      ["load", 16],
      ["store", 16],
    ]);
    expect(core.slowBytes.get(page + 0x110n)).toBe(0x1f);
  });

  it("are modified where TypeScript found them: in RAM, or by itself", () => {
    const core = setUp();
    const operations = [
      { name: "load-modify32-base", destination: temporary(0), base: register(3) },
      { name: "increment32", destination: temporary(0) },
      { name: "store-back32", source: temporary(0) },
    ] as const;
    core.modifyOffset = 0x6000n;
    core.execute(...operations);
    expect(core.ramView.getUint32(0x6000, true)).toBe(0x1312_1111);
    expect(core.slow.map(({ kind }) => kind)).toEqual(["modify"]);
    core.modifyOffset = -1n;
    core.execute(...operations);
    expect(core.slow.slice(1)).toMatchObject([
      { kind: "modify", size: 4 },
      { kind: "store-back", size: 4, value: 0x1312_1111n },
    ]);
  });

  it("are those that cross into another page, even if both are mapped", () => {
    const core = setUp();
    core.mapPage(page, 0x5000n, { write: true });
    core.mapPage(page + 0x1000n, 0x6000n, { write: true });
    for (const [width] of sizes) {
      const last = 0x1000 - width / 8;
      core.slow.length = 0;
      core.execute({
        name: name(`load${width}-base`),
        destination: register(0),
        base: register(3),
        displacement: last,
      });
      core.execute({ name: name(`store${width}-base`), source: register(0), base: register(3), displacement: last });
      expect(core.slow).toEqual([]);
      if (width === 8) continue;
      core.execute({
        name: name(`load${width}-base`),
        destination: register(0),
        base: register(3),
        displacement: last + 1,
      });
      core.execute({
        name: name(`load-modify${width}-base`),
        destination: register(0),
        base: register(3),
        displacement: 0xfff,
      });
      expect(core.slow.map(({ kind, address }) => [kind, address])).toEqual([
        ["load", page + BigInt(last + 1)],
        ["modify", page + 0xfffn],
      ]);
    }
  });

  it("are stores into a page that may only be read", () => {
    const core = setUp();
    core.mapPage(page, 0x5000n, { write: false });
    core.execute(
      { name: "load64-base", destination: register(0), base: register(3) },
      { name: "store64-base", source: register(0), base: register(3) },
      { name: "load-modify64-base", destination: register(0), base: register(3) },
    );
    expect(core.slow.map(({ kind }) => kind)).toEqual(["store", "modify"]);
  });

  it("are all, once the TLB is empty", () => {
    const core = setUp();
    core.mapPage(page, 0x5000n, { write: true });
    core.exports.flushTlb();
    core.execute({ name: "load64-base", destination: register(0), base: register(3) });
    expect(core.slow).toHaveLength(1);
    // NOTE: the pages whose addresses look most like an empty entry.
    for (const address of [0n, 0x0101_0101_0101_0000n, 0x0101_0101_0101_0101n]) {
      core.slow.length = 0;
      core.set(register(3), address);
      core.execute({ name: "load8-base", destination: register(0), base: register(3) });
      expect(core.slow).toHaveLength(1);
    }
  });

  it("fault before anything has changed, in the name of their operation", () => {
    const core = setUp();
    core.faulting.add(page);
    core.set(register(0), 77n);
    expect(core.faultOf({ name: "load64-base", destination: register(0), base: register(3) }).vector).toBe(14);
    expect(core.get(register(0))).toBe(77n);
    core.set(register(4), page + 8n);
    expect(core.faultOf({ name: "no-operation" }, { name: "push64", source: register(0), offset: 1 }).vector).toBe(14);
    expect(core.get(register(4))).toBe(page + 8n);
    const block = core.blocks.get(0x1000n) as number;
    expect(core.slow[1]?.operation).toBe(block + 16 + 40);
    expect(core.exports.unfinishedInstructions(block + 16 + 40)).toBe(2);
  });

  it("raise #GP(0) if an aligned vector is not", () => {
    const core = setUp();
    core.mapPage(page, 0x5000n, { write: true });
    for (const operation of ["load-aligned128-base", "store-aligned128-base"] as const) {
      const fault = core.faultOf({
        name: operation,
        destination: xmmAt,
        source: xmmAt,
        base: register(3),
        displacement: 8,
      });
      expect([fault.vector, fault.errorCode]).toEqual([13, 0]);
    }
    core.execute({ name: "load128-base", destination: xmmAt, base: register(3), displacement: 8 });
  });
});

describe("addresses outside 64-bit mode", () => {
  const data = 3;
  const segment = segmentsAt + data * segmentSize;
  const setUp = (attributes: number, limit: number, base = 0x1_0000n) => {
    const core = new CoreHarness();
    core.set(segment + segmentField.base, base);
    core.view.setUint32(segment + segmentField.limit, limit, true);
    core.view.setUint16(segment + segmentField.attributes, attributes, true);
    core.view.setUint32(segment + segmentField.unusable, 0, true);
    return core;
  };
  const bits = (size: number) => data | (size << legacyAddress.sizeShift) | legacyAddress.check | legacyAddress.wrap;
  const access = (size: number) => ({ segment, auxiliary: bits(size), base: register(3), index: register(6) });

  it("are cut to the address size, then to 32 bits", () => {
    const core = setUp(0x93, 0xffff_ffff, 0xffff_0000n);
    core.set(register(3), 0x1_0000_fff0n);
    core.set(register(6), 0x20n);
    core.execute({ name: "address-legacy", ...access(0), immediate: 4n });
    expect(core.get(effectiveAddressSlot)).toBe(0xffff_0010n);
    core.execute({ name: "address-legacy", ...access(1), immediate: 4n });
    expect(core.get(effectiveAddressSlot)).toBe(0x10n);
    core.execute({ name: "address-legacy", ...access(2), auxiliary: 2 << legacyAddress.sizeShift });
    expect(core.get(effectiveAddressSlot)).toBe(0x2_0000_0010n);
    expect(core.segmentChecks).toEqual([]);
  });

  it("are checked against the limit, to the last byte", () => {
    const core = setUp(0x93, 0x13);
    core.set(register(3), 0x10n);
    core.execute({ name: "load32-legacy", destination: register(0), ...access(0) });
    expect(core.segmentChecks).toEqual([]);
    core.execute({ name: "load64-legacy", destination: register(0), ...access(0) });
    expect(core.segmentChecks).toEqual([{ segment: data, size: 8, write: 0, offset: 0x10n }]);
    core.faulting.add(0x11n);
    expect(core.faultOf({ name: "store32-legacy", source: register(0), ...access(0), displacement: 1 }).vector).toBe(
      13,
    );
    expect(core.segmentChecks[1]).toEqual({ segment: data, size: 4, write: 1, offset: 0x11n });
    expect(core.slow.map(({ address }) => address)).toEqual([0x1_0010n, 0x1_0010n]);
  });

  it.each([
    ["writable data", 0x93, false, false],
    ["read-only data", 0x91, true, true],
    ["data that expands down", 0x97, true, true],
    ["readable code", 0x9b, false, true],
    ["code that is only executed", 0x99, true, true],
    ["a segment that is not present", 0x13, true, true],
  ])("are left to TypeScript to judge if the segment does not allow all: %s", (_what, attributes, loads, stores) => {
    const core = setUp(attributes, 0xffff);
    core.execute({ name: "load8-legacy", destination: register(0), ...access(1) });
    expect(core.segmentChecks.length).toBe(loads ? 1 : 0);
    core.segmentChecks.length = 0;
    core.execute({ name: "load-modify8-legacy", destination: register(0), ...access(1) });
    expect(core.segmentChecks.length).toBe(stores ? 1 : 0);
  });

  it("of an unusable segment are left to TypeScript", () => {
    const core = setUp(0x93, 0xffff_ffff);
    core.view.setUint32(segment + segmentField.unusable, 1, true);
    core.execute({ name: "load8-legacy", destination: register(0), ...access(1) });
    expect(core.segmentChecks).toHaveLength(1);
  });

  it("are LEA's without the segment", () => {
    const core = setUp(0x93, 0xffff_ffff);
    core.set(register(3), 0x1111_2222_3333_4444n);
    core.set(register(6), 0x1000_0000n);
    const lea = { destination: register(0), base: register(3), index: register(6), scale: 2, displacement: 2 };
    const results = [
      ["lea64", 2, 0x1111_2222_7333_4446n],
      ["lea64", 1, 0x7333_4446n],
      ["lea32", 2, 0x7333_4446n],
      ["lea32", 0, 0x4446n],
      ["lea16", 2, 0xaaaa_aaaa_aaaa_4446n],
    ] as const;
    for (const [operation, size, expected] of results) {
      core.set(register(0), 0xaaaa_aaaa_aaaa_aaaan);
      core.execute({ name: operation, ...lea, auxiliary: size << legacyAddress.sizeShift });
      expect(core.get(register(0)), `${operation} ${size}`).toBe(expected);
    }
  });
});
