import { describe, expect, it } from "vitest";
import type { OperationName } from "../../src/operations.ts";
import { CoreHarness, register, temporary } from "./core-harness.ts";
import {
  allFlags,
  CF,
  condition,
  OF,
  Random,
  resultFlags,
  signed,
  subtract,
  unsigned,
  type Width,
  widths,
  written,
  ZF,
} from "./integer-oracle.ts";

const core = new CoreHarness();
const random = new Random();
const destination = register(3);
const source = register(6);
const [rax, rcx, rdx] = [register(0), register(1), register(2)];
const rounds = 200;
const wide = [16, 32, 64] as const;
const name = (text: string): OperationName => text as OperationName;

describe.each(widths)("multiplication and division of %i bits", (width) => {
  const w = BigInt(width);

  /** The double-width accumulator: AX, or the low parts of RDX and RAX. */
  function accumulator(): bigint {
    if (width === 8) return core.get(rax) & 0xffffn;
    return (unsigned(width, core.get(rdx)) << w) | unsigned(width, core.get(rax));
  }

  it("multiplies into twice the width", () => {
    for (const kind of ["multiply-wide", "multiply-wide-signed"]) {
      const cut = kind === "multiply-wide" ? unsigned : signed;
      for (let round = 0; round < rounds; round++) {
        const [x, y] = [random.operand(), random.operand()];
        core.set(rax, x);
        core.set(source, y);
        core.execute({ name: name(`${kind}${width}`), source });
        const product = cut(width, x) * cut(width, y);
        expect(accumulator(), `${kind} ${x} ${y}`).toBe(unsigned(2 * width, product));
        expect(core.flags & (CF | OF)).toBe(cut(width, product) === product ? 0 : CF | OF);
        if (width === 16) expect(core.get(rax) >> 16n).toBe(x >> 16n);
        if (width === 32) expect(core.get(rdx) >> 32n).toBe(0n);
      }
    }
  });

  it("divides, or raises #DE and changes nothing", () => {
    const least = { quotients: 0, errors: 0 };
    for (const kind of ["divide", "divide-signed"]) {
      const cut = kind === "divide" ? unsigned : signed;
      for (let round = 0; round < 3 * rounds; round++) {
        const divisor = random.operand();
        // Random dividends seldom have a quotient that fits: most are made from one.
        const fitting = cut(width, random.operand()) * cut(width, divisor);
        const whole = unsigned(
          2 * width,
          random.below(4) === 0 ? random.next() << w : fitting + BigInt(random.below(100)),
        );
        const high = width === 8 ? 0x1234n : random.next();
        core.set(rdx, width === 8 ? high : written(width, high, whole >> w));
        core.set(rax, width === 8 ? written(16, 0x5555_5555n, whole) : written(width, random.next(), whole));
        core.set(source, divisor);
        const before = [core.get(rax), core.get(rdx)];
        const [dividend, y] = [cut(2 * width, whole), cut(width, divisor)];
        const quotient = y === 0n ? 0n : dividend / y;
        const what = `${kind}${width} ${dividend} / ${y}`;
        if (y === 0n || cut(width, quotient) !== quotient) {
          const fault = core.faultOf({ name: name(`${kind}${width}`), source });
          expect(fault.vector, what).toBe(0);
          expect([core.get(rax), core.get(rdx)], what).toEqual(before);
          least.errors++;
        } else {
          core.execute({ name: name(`${kind}${width}`), source });
          const remainder = unsigned(width, dividend % y);
          expect(accumulator(), what).toBe((remainder << w) | unsigned(width, quotient));
          if (width === 8) expect(core.get(rdx)).toBe(high);
          least.quotients++;
        }
      }
    }
    expect(least.quotients).toBeGreaterThan(rounds);
    expect(least.errors).toBeGreaterThan(rounds / 4);
  });

  it("compares and exchanges", () => {
    for (let round = 0; round < rounds; round++) {
      const [x, y] = [random.operand(), random.operand()];
      const accumulated = random.below(2) === 0 ? x : random.operand();
      core.set(destination, x);
      core.set(source, y);
      core.set(rax, accumulated);
      core.execute({ name: name(`compare-exchange${width}`), destination, source });
      const equal = unsigned(width, accumulated) === unsigned(width, x);
      expect(core.get(destination)).toBe(equal ? written(width, x, y) : x);
      expect(core.get(rax)).toBe(equal ? accumulated : written(width, accumulated, x));
      expect(core.flags & allFlags).toBe(subtract(width, accumulated, x, 0n).flags);

      core.set(destination, x);
      core.execute({ name: name(`exchange${width}`), destination, source });
      expect([core.get(destination), core.get(source)]).toEqual([written(width, x, y), written(width, y, x)]);
      core.execute({ name: name(`move${width}`), destination, source });
      expect(core.get(destination)).toBe(written(width, written(width, x, y), written(width, y, x)));
    }
  });

  it("exchanges a register with itself", () => {
    core.set(destination, 0x1122_3344_5566_7788n);
    core.execute({ name: name(`exchange${width}`), destination, source: destination });
    expect(core.get(destination)).toBe(written(width, 0x1122_3344_5566_7788n, 0x1122_3344_5566_7788n));
    core.execute({ name: name(`exchange-add${width}`), destination, source: destination });
    const x = written(width, 0x1122_3344_5566_7788n, 0x1122_3344_5566_7788n);
    expect(core.get(destination)).toBe(written(width, x, 2n * x));
  });
});

describe.each(wide)("operations of %i bits", (width) => {
  const w = BigInt(width);

  it("multiply, and say whether the product fits", () => {
    for (let round = 0; round < rounds; round++) {
      const [x, y] = [random.operand(), random.operand()];
      core.set(destination, x);
      core.set(source, y);
      core.execute({ name: name(`multiply-signed${width}`), destination, source });
      const product = signed(width, x) * signed(width, y);
      expect(core.get(destination)).toBe(written(width, x, product));
      expect(core.flags & (CF | OF)).toBe(signed(width, product) === product ? 0 : CF | OF);
      const immediate = signed(32, random.operand());
      core.set(destination, x);
      core.execute({ name: name(`multiply-signed-immediate${width}`), destination, source, immediate });
      const other = signed(width, y) * signed(width, immediate);
      expect(core.get(destination)).toBe(written(width, x, other));
    }
  });

  it("test and change bits", () => {
    for (const [kind, change] of [
      ["", (x: bigint) => x],
      ["-set", (x: bigint, mask: bigint) => x | mask],
      ["-reset", (x: bigint, mask: bigint) => x & ~mask],
      ["-complement", (x: bigint, mask: bigint) => x ^ mask],
    ] as const) {
      for (let round = 0; round < rounds; round++) {
        const [x, y, flags] = [random.operand(), random.next(), random.flags()];
        core.set(destination, x);
        core.set(source, y);
        core.flags = flags;
        core.execute({ name: name(`bit-test${kind}${width}`), destination, source });
        const index = y & (w - 1n);
        const now = change(unsigned(width, x), 1n << index);
        expect(core.get(destination)).toBe(kind === "" ? x : written(width, x, now));
        expect(core.flags & allFlags).toBe((flags & allFlags & ~CF) | Number((x >> index) & 1n));
      }
    }
  });

  it("find where a numbered bit is", () => {
    for (let round = 0; round < rounds; round++) {
      const y = random.operand();
      core.set(source, y);
      core.execute({ name: name(`bit-offset${width}`), destination: temporary(0), source });
      const units = signed(width, y) >> BigInt(Math.log2(width));
      expect(signed(64, core.get(temporary(0)))).toBe((units * w) / 8n);
    }
  });

  it("scan and count bits", () => {
    for (let round = 0; round < rounds; round++) {
      const [before, x, flags] = [
        random.next(),
        round < 3 ? 0n : random.operand() >> BigInt(random.below(60)),
        random.flags(),
      ];
      const value = unsigned(width, x);
      const bits = value.toString(2);
      const trailing = value === 0n ? width : bits.length - 1 - bits.lastIndexOf("1");
      const leading = value === 0n ? width : width - bits.length;
      const run = (kind: string) => {
        core.set(destination, before);
        core.set(source, x);
        core.flags = flags;
        core.execute({ name: name(`${kind}${width}`), destination, source });
        return core.get(destination);
      };
      const zero = value === 0n;
      expect(run("bit-scan-forward")).toBe(zero ? before : written(width, before, BigInt(trailing)));
      expect(core.flags & ZF).toBe(zero ? ZF : 0);
      expect(run("bit-scan-reverse")).toBe(zero ? before : written(width, before, BigInt(bits.length - 1)));
      expect(core.flags & ZF).toBe(zero ? ZF : 0);
      expect(run("count-trailing-zeros")).toBe(written(width, before, BigInt(trailing)));
      expect(core.flags & (CF | ZF)).toBe((zero ? CF : 0) | (trailing === 0 ? ZF : 0));
      expect(run("count-leading-zeros")).toBe(written(width, before, BigInt(leading)));
      expect(core.flags & (CF | ZF)).toBe((zero ? CF : 0) | (leading === 0 ? ZF : 0));
      expect(run("population-count")).toBe(written(width, before, BigInt(bits.replaceAll("0", "").length)));
      expect(core.flags & allFlags).toBe(zero ? ZF : 0);
    }
  });

  it("move if a condition holds", () => {
    for (let round = 0; round < rounds; round++) {
      const [x, y, flags, code] = [random.next(), random.next(), random.flags(), random.below(16)];
      core.set(destination, x);
      core.set(source, y);
      core.flags = flags;
      core.execute({ name: name(`move-if${width}`), destination, source, auxiliary: code });
      expect(core.get(destination)).toBe(written(width, x, condition(code, flags) ? y : x));
      expect(core.flags).toBe(flags);
    }
  });

  it("extend the accumulator", () => {
    for (let round = 0; round < rounds; round++) {
      const [x, y] = [random.next(), random.next()];
      core.set(rax, x);
      core.set(rdx, y);
      core.execute({ name: name(`sign-to-data${width}`) });
      expect(core.get(rdx)).toBe(written(width, y, signed(width, x) < 0n ? -1n : 0n));
      core.execute({ name: name(`extend-accumulator${width}`) });
      expect(core.get(rax)).toBe(written(width, x, signed(width / 2, x)));
    }
  });
});

describe("operations between widths", () => {
  it("extend", () => {
    const cases: readonly [OperationName, 8 | 16 | 32, Width, typeof signed][] = [
      ["zero-extend8-to16", 8, 16, unsigned],
      ["zero-extend8-to32", 8, 32, unsigned],
      ["zero-extend16-to32", 16, 32, unsigned],
      ["sign-extend8-to16", 8, 16, signed],
      ["sign-extend8-to32", 8, 32, signed],
      ["sign-extend8-to64", 8, 64, signed],
      ["sign-extend16-to32", 16, 32, signed],
      ["sign-extend16-to64", 16, 64, signed],
      ["sign-extend32-to64", 32, 64, signed],
    ];
    for (const [operation, from, to, cut] of cases) {
      for (let round = 0; round < 50; round++) {
        const [x, y] = [random.next(), random.next()];
        core.set(destination, x);
        core.set(source, y);
        core.execute({ name: operation, destination, source });
        expect(core.get(destination), operation).toBe(written(to, x, cut(from, y)));
      }
    }
  });

  it("reach the second byte of a register", () => {
    core.set(rax, 0x1111_2222_3333_4444n);
    core.set(rcx, 0xffn);
    core.execute({ name: "add8", destination: rax + 1, source: rcx });
    expect(core.get(rax)).toBe(0x1111_2222_3333_4344n);
    expect(core.flags & allFlags & ~resultFlags(8, 0x43n)).toBe(CF | 0x10);
    core.execute({ name: "move8", destination: rcx, source: rax + 1 });
    expect(core.get(rcx)).toBe(0x43n);
  });

  it("reverse bytes", () => {
    core.set(destination, 0x0123_4567_89ab_cdefn);
    core.execute({ name: "byte-swap64", destination });
    expect(core.get(destination)).toBe(0xefcd_ab89_6745_2301n);
    core.execute({ name: "byte-swap32", destination });
    expect(core.get(destination)).toBe(0x0123_4567n);
  });

  it("take a constant from the operation itself", () => {
    core.set(destination, 1n);
    core.execute({ name: "add64", destination, source: -3n });
    expect(signed(64, core.get(destination))).toBe(-2n);
  });

  it("do nothing where nothing is to be done", () => {
    core.flags = 0x8d7;
    core.execute({ name: "no-operation" });
    expect(core.flags).toBe(0x8d7);
  });
});
