import { beforeEach, describe, expect, test } from "vitest";
import { BlockCache } from "../src/code-cache.ts";
import { CodePages } from "../src/code-pages.ts";
import { describeBlock } from "../src/decode/describe.ts";
import { modeWith } from "../src/decode/mode.ts";
import {
  blockField,
  blockHeaderSize,
  coreMemorySize,
  jumpCacheAt,
  jumpCacheEntries,
  jumpCacheEntrySize,
  jumpKeyAt,
  ripSlot,
  segmentField,
  segmentSize,
  segmentsAt,
} from "../src/layout.ts";
import { field, operationKind, operationSize } from "../src/operations.ts";
import type { LinearMemory, Mode } from "../src/processor-interface.ts";
import { bytesOf, coreMemory } from "./support/decoding.ts";

const core = coreMemory();
const stale = operationKind("stale");
const long = modeWith({ code: 64 });

/** Thrown in place of a guest fault. */
class Fault extends Error {
  readonly vector: number;
  readonly address: bigint | undefined;
  constructor(vector: number, address?: bigint) {
    super(`#${vector}`);
    this.vector = vector;
    this.address = address;
  }
}

/** Eight pages of RAM, and a page table from linear pages to RAM pages; -1 is a device, which reads as NOPs. */
class Machine {
  readonly ram = new Uint8Array(0x8000);
  readonly pages = new Map<number, number>([0, 1, 2, 3, 4, 5, 6, 7].map((page) => [page, page]));
  readonly protectedPages: number[] = [];
  readonly reads: bigint[] = [];
  mode: Mode = long;
  readonly codePages = new CodePages();
  readonly code: BlockCache;

  constructor() {
    const linear: Partial<LinearMemory> = {
      translateFetch: (address) => {
        const page = this.pages.get(Number(address >> 12n));
        if (page === undefined) throw new Fault(14, address);
        return page < 0 ? -1 : page * 4096 + Number(address & 0xfffn);
      },
      read: (address) => {
        this.reads.push(address);
        return 0x90n;
      },
      protectCode: (page) => {
        expect(this.codePages.has(page)).toBe(true);
        this.protectedPages.push(page);
      },
    };
    const machine = this;
    this.code = new BlockCache(
      {
        core,
        ram: { u8: this.ram } as never,
        linear: linear as LinearMemory,
        get mode() {
          return machine.mode;
        },
        raise: (vector) => {
          throw new Fault(vector);
        },
      },
      this.codePages,
    );
    this.code.flush();
    core.u32[jumpKeyAt >> 2] = 7;
  }

  put(address: number, text: string): void {
    this.ram.set(bytesOf(text), address);
  }

  at(rip: number): this {
    core.u64[ripSlot >> 3] = BigInt(rip);
    return this;
  }

  resolve(rip: number, linkAt = 0): number {
    return this.at(rip).code.resolve(linkAt);
  }
}

let machine: Machine;
beforeEach(() => {
  machine = new Machine();
});

/** Address of a field of the nth operation of a block. */
const fieldOf = (block: number, index: number, offset: number): number =>
  block + blockHeaderSize + index * operationSize + offset;
const linkOf = (block: number, index: number): number => core.u32[fieldOf(block, index, field.base) >> 2] as number;
const kindOf = (block: number, index: number): number => core.u16[fieldOf(block, index, field.kind) >> 1] as number;
const jumpCacheEntry = (rip: number) => {
  const at = (jumpCacheAt + ((rip ^ (rip >>> 13)) & (jumpCacheEntries - 1)) * jumpCacheEntrySize) >> 2;
  return { rip: core.u32[at], key: core.u32[at + 2], block: core.u32[at + 3] };
};

describe("resolve", () => {
  test("decodes a block once, and enters it in the jump cache", () => {
    machine.put(0x1010, "ff c0 c3");
    const block = machine.resolve(0x1010);
    expect(describeBlock(core, block)).toEqual(["increment32 rax", "return64 -> 0x0"]);
    expect(core.u32[(block + blockField.instructions) >> 2]).toBe(2);
    expect(core.u32[(block + blockField.length) >> 2]).toBe(3);
    expect(core.u32[(block + blockField.page) >> 2]).toBe(1);
    expect(jumpCacheEntry(0x1010)).toEqual({ rip: 0x1010, key: 7, block });
    expect(machine.resolve(0x1010)).toBe(block);
    expect(machine.protectedPages).toEqual([1]);
  });

  test("finds the block under another linear address, but not in another mode", () => {
    machine.put(0x1010, "ff c0 c3");
    const block = machine.resolve(0x1010);
    machine.pages.set(0x40, 1);
    expect(machine.resolve(0x4_0010)).toBe(block);
    machine.mode = modeWith({ code: 64, user: true });
    expect(machine.resolve(0x1010)).not.toBe(block);
  });

  test("raises the fault of the fetch", () => {
    expect(() => machine.resolve(0x9000)).toThrow(expect.objectContaining({ vector: 14, address: 0x9000n }));
  });

  test("raises #GP beyond the limit of CS", () => {
    machine.mode = modeWith({ code: 16 });
    core.u32[(segmentsAt + segmentSize + segmentField.limit) >> 2] = 0xffff;
    core.u64[(segmentsAt + segmentSize + segmentField.base) >> 3] = 0n;
    expect(() => machine.resolve(0x1_0000)).toThrow(expect.objectContaining({ vector: 13 }));
  });

  test("adds the base of CS, and keeps blocks of segments out of the jump cache", () => {
    machine.mode = modeWith({ code: 16 });
    core.u32[(segmentsAt + segmentSize + segmentField.limit) >> 2] = 0xffff;
    core.u64[(segmentsAt + segmentSize + segmentField.base) >> 3] = 0x1000n;
    machine.put(0x1010, "40 c3");
    const block = machine.resolve(0x10);
    expect(describeBlock(core, block)[0]).toBe("increment16 rax");
    expect(jumpCacheEntry(0x10).block).toBe(0);
    // The same code under another IP is another block: jumps wrap around elsewhere.
    core.u64[(segmentsAt + segmentSize + segmentField.base) >> 3] = 0n;
    expect(machine.resolve(0x1010)).not.toBe(block);
  });
});

describe("links", () => {
  test("are written for a jump within the page", () => {
    machine.put(0x1000, "eb 0e");
    machine.put(0x1010, "c3");
    const jump = machine.resolve(0x1000);
    const target = machine.resolve(0x1010, fieldOf(jump, 0, field.base));
    expect(linkOf(jump, 0)).toBe(target);
  });

  test("of both ways of a conditional jump are told apart", () => {
    machine.put(0x1000, "75 0e c3");
    machine.put(0x1010, "c3");
    const jump = machine.resolve(0x1000);
    const next = machine.resolve(0x1002, fieldOf(jump, 0, field.index));
    expect(linkOf(jump, 0)).toBe(0);
    expect(core.u32[fieldOf(jump, 0, field.index) >> 2]).toBe(next);
    const target = machine.resolve(0x1010, fieldOf(jump, 0, field.base));
    expect(linkOf(jump, 0)).toBe(target);
  });

  test("are not written for a jump into another page", () => {
    machine.put(0x1ff0, "eb 0e");
    machine.put(0x2000, "c3");
    const jump = machine.resolve(0x1ff0);
    machine.resolve(0x2000, fieldOf(jump, 0, field.base));
    expect(linkOf(jump, 0)).toBe(0);
  });

  test("are not written behind a change of control registers", () => {
    machine.put(0x1000, "0f 22 d8 c3");
    const block = machine.resolve(0x1000);
    machine.resolve(0x1003, fieldOf(block, 1, field.base));
    expect(linkOf(block, 1)).toBe(0);
  });

  test("are not written to an instruction that reaches into the next page", () => {
    machine.put(0x1000, "e9 f9 0f 00 00");
    machine.put(0x1ffe, "81 c0 01 00 00 00 c3");
    const jump = machine.resolve(0x1000);
    const target = machine.resolve(0x1ffe, fieldOf(jump, 0, field.base));
    expect(describeBlock(core, target)).toEqual(["add32 rax # #=0x1", "end -> 0x6"]);
    expect(linkOf(jump, 0)).toBe(0);
  });
});

describe("stores to code", () => {
  test("make every instruction of the page's blocks stale, and decode anew", () => {
    machine.put(0x1000, "01 03 ff c0 c3");
    const block = machine.resolve(0x1000);
    machine.put(0x1002, "ff c8");
    machine.codePages.written(1);
    expect(machine.codePages.has(1)).toBe(false);
    // add [m], r is three operations: only the first is where the instruction begins.
    expect([0, 1, 2, 3, 4].map((index) => kindOf(block, index) === stale)).toEqual([true, false, false, true, true]);
    const again = machine.resolve(0x1000);
    expect(again).not.toBe(block);
    expect(describeBlock(core, again)[3]).toBe("decrement32 rax");
    expect(jumpCacheEntry(0x1000).block).toBe(again);
    expect(machine.protectedPages).toEqual([1, 1]);
  });

  test("make a block stale that begins with NOPs, or has nothing else, as a whole", () => {
    machine.put(0x1000, "90 90 90 ff c0 c3");
    machine.put(0x1800, "90".repeat(200));
    for (const rip of [0x1000, 0x1800]) {
      const block = machine.resolve(rip);
      const offset = () => core.u16[fieldOf(block, 0, field.instructionOffset) >> 1];
      const before = offset();
      machine.put(rip, "0f 0b");
      machine.codePages.written(1);
      expect(kindOf(block, 0)).toBe(stale);
      // It may be the operation that executes: then what it says of its instruction must still be right.
      expect(offset()).toBe(before);
    }
  });

  test("leave other pages alone", () => {
    machine.put(0x1000, "c3");
    machine.put(0x2000, "c3");
    machine.resolve(0x1000);
    const block = machine.resolve(0x2000);
    machine.codePages.written(1);
    machine.codePages.written(3);
    expect(machine.resolve(0x2000)).toBe(block);
    expect(kindOf(block, 0)).not.toBe(stale);
  });
});

describe("an instruction across two pages", () => {
  beforeEach(() => {
    machine.put(0x1ffd, "90 81 c0 01 00 00 00 c3");
  });

  test("is a block of its own, behind what comes before it", () => {
    machine.put(0x1ffc, "f8");
    const before = machine.resolve(0x1ffc);
    expect(describeBlock(core, before)).toEqual(["clear-carry", "(1 skipped) end -> 0x2 linkable"]);
    const block = machine.resolve(0x1ffe);
    expect(describeBlock(core, block)).toEqual(["add32 rax # #=0x1", "end -> 0x6"]);
    expect(machine.resolve(0x1ffe)).toBe(block);
    expect(machine.codePages.has(2)).toBe(true);
  });

  test("becomes stale by a store to either page", () => {
    const first = machine.resolve(0x1ffe);
    machine.codePages.written(2);
    expect(kindOf(first, 0)).toBe(stale);
    const second = machine.resolve(0x1ffe);
    expect(second).not.toBe(first);
    machine.codePages.written(1);
    expect(kindOf(second, 0)).toBe(stale);
    expect(machine.resolve(0x1ffe)).not.toBe(second);
  });

  test("is decoded anew when another page follows", () => {
    const block = machine.resolve(0x1ffe);
    machine.put(0x3000, "02 00 00 00");
    machine.pages.set(2, 3);
    const other = machine.resolve(0x1ffe);
    expect(other).not.toBe(block);
    expect(describeBlock(core, other)[0]).toBe("add32 rax # #=0x2");
  });

  test("faults at the first byte of the page that is missing", () => {
    machine.pages.delete(2);
    expect(() => machine.resolve(0x1ffe)).toThrow(expect.objectContaining({ vector: 14, address: 0x2000n }));
    // What ends at the page's end needs no more.
    machine.put(0x1ffe, "ff c0");
    expect(describeBlock(core, machine.resolve(0x1ffe))).toEqual(["increment32 rax", "end -> 0x2"]);
  });
});

describe("single instructions", () => {
  test("are not kept and not linked", () => {
    machine.put(0x1000, "eb fe");
    const block = machine.at(0x1000).code.resolveSingle();
    expect(describeBlock(core, block)).toEqual(["jump -> 0x0 #=0x2"]);
    expect(machine.codePages.has(1)).toBe(false);
    expect(jumpCacheEntry(0x1000).block).toBe(0);
  });

  test("are how code outside RAM is decoded, each time", () => {
    machine.pages.set(5, -1);
    const block = machine.resolve(0x5000);
    expect(describeBlock(core, block)).toEqual(["(1 skipped) end -> 0x1"]);
    expect(machine.reads[0]).toBe(0x5000n);
    expect(machine.codePages.has(5)).toBe(false);
    expect(machine.resolve(0x5000)).not.toBe(block);
  });
});

describe("a full arena", () => {
  test("is emptied as a whole, and nothing is linked from what is gone", () => {
    // 60 additions to memory, three operations each, and a jump.
    machine.put(0x1000, `${"01 03 ".repeat(60)} eb 0e`);
    const first = machine.resolve(0x1000);
    const link = fieldOf(first, 180, field.base);
    let rounds = 0;
    for (let last = 0; last !== first && rounds < 20_000; rounds++) {
      machine.codePages.written(1);
      last = machine.resolve(0x1000, link);
      expect(last).toBeLessThan(coreMemorySize);
    }
    expect(rounds).toBeGreaterThan(1000);
    expect(rounds).toBeLessThan(20_000);
    expect(core.u32[link >> 2]).toBe(0);
    expect(machine.codePages.has(1)).toBe(true);
  });

  test("flush forgets blocks and jump cache", () => {
    machine.put(0x1000, "c3");
    machine.resolve(0x1000);
    machine.code.flush();
    expect(jumpCacheEntry(0x1000)).toEqual({ rip: 0, key: 0, block: 0 });
    machine.put(0x1000, "ff c0 c3");
    expect(describeBlock(core, machine.resolve(0x1000))[0]).toBe("increment32 rax");
  });
});
