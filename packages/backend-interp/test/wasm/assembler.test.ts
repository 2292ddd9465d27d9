/// <reference lib="dom" />
import { describe, expect, it } from "vitest";
import {
  block,
  branch,
  branchIf,
  call,
  choose,
  evaluate,
  f64,
  i8x16,
  i32,
  i32x4,
  i64,
  leave,
  loop,
  ModuleBuilder,
  memoryFill,
  select,
  switchOn,
  unreachable,
  v128,
  when,
} from "../../src/wasm/index.ts";

function instantiate(module: ModuleBuilder, env: Record<string, WebAssembly.ImportValue> = {}) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { env });
  return exports as Record<string, (...values: never[]) => unknown>;
}

describe("the WebAssembly assembler", () => {
  it("builds functions that call each other and loop", () => {
    const module = new ModuleBuilder();
    const factorial = module.declareFunction("factorial", ["i64"], "i64");
    module.implement(factorial, (_f, n) => [
      leave(choose(i64.eqz(n), i64.const(1n), i64.mul(n, call(factorial, i64.sub(n, i64.const(1n)))))),
    ]);
    const triangular = module.defineFunction("triangular", ["i32"], "i32", (f, n) => {
      const total = f.local("i32");
      return [
        block((exit) => [
          loop((again) => [
            branchIf(exit, i32.eqz(n)),
            total.set(i32.add(total, n)),
            n.set(i32.sub(n, i32.const(1))),
            branch(again),
          ]),
        ]),
        leave(total),
      ];
    });
    module.exportFunction("factorial", factorial);
    module.exportFunction("triangular", triangular);
    const exports = instantiate(module);
    expect(exports["factorial"]?.(20n as never)).toBe(2_432_902_008_176_640_000n);
    expect(exports["triangular"]?.(100 as never)).toBe(5050);
  });

  it("switches by a table, with a default", () => {
    const module = new ModuleBuilder();
    const name = module.defineFunction("pick", ["i32"], "i32", (f, index) => {
      const picked = f.local("i32");
      return [
        switchOn(
          index,
          [[picked.set(i32.const(10))], [leave(i32.const(11))], [picked.set(i32.const(-1))]],
          [picked.set(i32.const(99))],
        ),
        when(i32.ltS(picked, i32.const(0)), [leave(i32.const(12))]),
        leave(picked),
      ];
    });
    module.exportFunction("pick", name);
    const { pick } = instantiate(module);
    expect([0, 1, 2, 3, -1].map((index) => pick?.(index as never))).toEqual([10, 11, 12, 99, 99]);
  });

  it("encodes constants at the edges of their ranges", () => {
    const module = new ModuleBuilder();
    const values = [0n, 63n, 64n, -64n, -65n, 127n, 128n, 2n ** 31n, -(2n ** 31n), 2n ** 63n - 1n, -(2n ** 63n)];
    for (const [index, value] of values.entries()) {
      module.exportFunction(
        `constant${index}`,
        module.defineFunction("constant", [], "i64", () => [leave(i64.const(value))]),
      );
    }
    module.exportFunction(
      "unsigned32",
      module.defineFunction("unsigned32", [], "i32", () => [leave(i32.const(0xffff_fffe))]),
    );
    module.exportFunction(
      "float",
      module.defineFunction("float", [], "f64", () => [leave(f64.const(0.1))]),
    );
    const exports = instantiate(module);
    expect(values.map((_, index) => exports[`constant${index}`]?.())).toEqual(values);
    expect(exports["unsigned32"]?.()).toBe(-2);
    expect(exports["float"]?.()).toBe(0.1);
  });

  it("addresses two memories, the second shared and with 64-bit addresses", () => {
    const module = new ModuleBuilder();
    const first = module.importMemory("env", "first", { address: "i32", shared: false, minimum: 1, maximum: 1 });
    const second = module.importMemory("env", "second", { address: "i64", shared: true, minimum: 1, maximum: 16 });
    const move = module.defineFunction("move", ["i32", "i64"], "none", (_f, from, to) => [
      i64.store(second, to, i64.load(first, from, 8), 16),
      memoryFill(first, i32.const(0), i32.const(0xaa), i32.const(4)),
    ]);
    module.exportFunction("move", move);
    const memories = {
      first: new WebAssembly.Memory({ initial: 1, maximum: 1 }),
      // @ts-expect-error The types do not know memory64 yet.
      second: new WebAssembly.Memory({ address: "i64", initial: 1n, maximum: 1n, shared: true }),
    };
    new DataView(memories.first.buffer).setBigUint64(108, 0x0123_4567_89ab_cdefn);
    instantiate(module, memories)["move"]?.(100 as never, 1000n as never);
    expect(new DataView(memories.second.buffer).getBigUint64(1016)).toBe(0x0123_4567_89ab_cdefn);
    expect(new Uint8Array(memories.first.buffer, 0, 5)).toEqual(Uint8Array.of(0xaa, 0xaa, 0xaa, 0xaa, 0));
  });

  it("knows vectors", () => {
    const module = new ModuleBuilder();
    const dot = module.defineFunction("dot", ["i32", "i32"], "i32", (f, left, right) => {
      const sum = f.local("v128");
      return [
        sum.set(i32x4.mul(i32x4.splat(left), i32x4.replaceLane(i32x4.splat(right), 3, i32.const(1)))),
        sum.set(select(i32.const(1), sum, v128.const(new Uint8Array(16)))),
        leave(
          evaluate(
            [sum.set(i32x4.add(sum, i8x16.shuffle(sum, sum, [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3])))],
            i32.add(i32x4.extractLane(sum, 0), i32x4.extractLane(sum, 2)),
          ),
        ),
      ];
    });
    module.exportFunction("dot", dot);
    expect(instantiate(module)["dot"]?.(7 as never, 3 as never)).toBe(7 * 3 * 3 + 7);
  });

  it("refuses a branch out of nowhere, a late import and a function without a body", () => {
    const stray = new ModuleBuilder();
    const declared = stray.declareFunction("declared", [], "none");
    expect(() => stray.encode()).toThrow(/declared has no body/);
    expect(() => stray.importFunction("env", "late", [], "none")).toThrow(/Imports come before/);
    expect(() =>
      stray.implement(declared, () => {
        const labels: Parameters<Parameters<typeof block>[0]>[0][] = [];
        const inner = block((exit) => {
          labels.push(exit);
          return [];
        });
        return [inner, branch(labels[0] as (typeof labels)[0]), unreachable()];
      }),
    ).toThrow(/not around it/);
  });
});
