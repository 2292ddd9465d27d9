import { beforeEach, describe, expect, test } from "vitest";
import { CodePages } from "../src/code-pages.ts";
import { makeGuests } from "./support/guest.ts";
import { ProtectedGuest, page, place } from "./support/protected-guest.ts";

describe("the code pages", () => {
  const told: string[] = [];
  const holder = (name: string) => ({
    protectPage: (ramPage: number) => told.push(`${name} protects ${ramPage}`),
    invalidatePage: (ramPage: number) => told.push(`${name} invalidates ${ramPage}`),
  });

  test("tell every holder of the first code of a page, and of a store to it, once", () => {
    const pages = new CodePages();
    pages.join(holder("a"));
    pages.join(holder("b"));
    pages.add(7);
    pages.add(7);
    expect(pages.has(7)).toBe(true);
    pages.written(7);
    pages.written(7);
    pages.written(8);
    expect(pages.has(7)).toBe(false);
    expect(told).toEqual(["a protects 7", "b protects 7", "a invalidates 7", "b invalidates 7"]);
  });
});

test("the code of every page is invalidated that a device writes to, and of no other", () => {
  const invalidated: number[] = [];
  const pages = new CodePages();
  pages.join({ protectPage: () => undefined, invalidatePage: (page) => invalidated.push(page) });
  for (const page of [0, 1, 2, 3, 4]) pages.add(page);
  pages.rangeWritten(2 * 4096 - 1, 2);
  expect(invalidated).toEqual([1, 2]);
  pages.rangeWritten(3 * 4096, 4096);
  expect(invalidated).toEqual([1, 2, 3]);
  pages.rangeWritten(4096, 0);
  expect(invalidated).toEqual([1, 2, 3]);
});

/** Where the code is that one vCPU changes and the other executes; the upper half of its page is data. */
const target = place.data + 0x3000;
const dataInPage = target + 0x800;
/** Another linear address of the same page. */
const alias = place.data + 0x8000;

/** `mov eax, 1; hlt`: the byte behind the opcode is what writers change to 2. */
const program = "mov eax, 1\n hlt";

describe("code that another vCPU writes", () => {
  let writer: ProtectedGuest;
  let reader: ProtectedGuest;

  beforeEach(() => {
    const [first, second] = makeGuests(2);
    writer = new ProtectedGuest(64, first);
    reader = new ProtectedGuest(64, second);
    for (const guest of [writer, reader]) {
      guest.processor.activity = 0;
      guest.map(alias, target | page.present | page.writable);
    }
    reader.load(program, target);
  });

  const execute = (guest: ProtectedGuest, address: number): number => {
    guest.registers.rip = BigInt(address);
    guest.resume();
    return guest.registers.low(0);
  };

  test.each([
    ["a store", `mov byte ptr [${target + 1}], 2\n hlt`],
    ["a store under another linear address", `mov byte ptr [${alias + 1}], 2\n hlt`],
    ["a locked addition", `lock inc byte ptr [${target + 1}]\n hlt`],
    ["an exchange", `mov eax, 2\n xchg [${target + 1}], eax\n hlt`],
    ["a push", `mov rsp, ${target + 9}\n mov rax, 0xf400000002\n push rax\n hlt`],
    ["a string store", `mov edi, ${target + 1}\n mov ecx, 1\n mov al, 2\n rep stosb\n hlt`],
    [
      "a string move",
      `mov edi, ${target}\n lea rsi, code[rip]\n mov ecx, 6\n rep movsb\n hlt\n code: mov eax, 2\n hlt`,
    ],
    ["a vector store", `movups xmm0, code[rip]\n movups [${target}], xmm0\n hlt\n code: mov eax, 2\n hlt\n .zero 16`],
    [
      "a store across pages",
      `mov rax, 0xb8900200000000\n mov [${target - 6}], rax\n mov byte ptr [${target + 1}], 2\n hlt`,
    ],
    [
      "CMPXCHG16B",
      `xor eax, eax\n lea rsi, code[rip]\n mov rbx, [rsi]\n xor ecx, ecx\n xor edx, edx
      mov rax, [${target}]\n mov rdx, [${target + 8}]\n cmpxchg16b [${target}]\n hlt\n code: mov eax, 2\n hlt\n .zero 8`,
    ],
  ])("is executed as written: by %s", (_, source) => {
    // The writer has stored to the page before, so that its TLB knows it as one to store to.
    writer.load(`mov byte ptr [${dataInPage}], 1\n mov byte ptr [${alias + 0x800}], 1\n hlt`).run();
    expect(execute(reader, target)).toBe(1);
    expect(execute(reader, target)).toBe(1);
    execute(writer.load(source), place.code);
    expect(execute(reader, target)).toBe(2);
    // Of what is decoded now, the next store is seen as well.
    execute(writer.load(`mov byte ptr [${target + 1}], 3\n hlt`), place.code);
    expect(execute(reader, target)).toBe(3);
  });

  test("is executed as written by the one that writes, too, and by both again", () => {
    expect(execute(reader, target)).toBe(1);
    expect(execute(writer, target)).toBe(1);
    execute(reader.load(`mov byte ptr [${target + 1}], 2\n hlt`), place.code);
    expect([execute(writer, target), execute(reader, target)]).toEqual([2, 2]);
    execute(writer, place.code);
    execute(writer.load(`mov byte ptr [${target + 1}], 3\n hlt`), place.code);
    expect([execute(writer, target), execute(reader, target)]).toEqual([3, 3]);
  });

  test("is executed as written in the midst of a loop of linked jumps", () => {
    reader.load("again: inc ecx\n jmp over\n .zero 9\n over: mov eax, 1\n jmp again", target);
    reader.registers.rip = BigInt(target);
    expect(reader.processor.run(1000)).toBe("budget");
    expect(reader.registers.low(0)).toBe(1);
    execute(writer.load(`mov byte ptr [${target + 14}], 2\n hlt`), place.code);
    expect(reader.processor.run(1000)).toBe("budget");
    expect(reader.registers.low(0)).toBe(2);
  });

  test("is executed as written where an instruction reaches into the page", () => {
    reader.load(program, target - 2);
    expect(execute(reader, target - 2)).toBe(1);
    // The immediate's third byte.
    execute(writer.load(`mov byte ptr [${target + 1}], 1\n hlt`), place.code);
    expect(execute(reader, target - 2)).toBe(0x1_0001);
  });

  test("is executed as written although its decoded form was forgotten and made anew in between", () => {
    writer.load(`mov byte ptr [${dataInPage}], 1\n hlt`).run();
    expect(execute(reader, target)).toBe(1);
    reader.processor.code.flush();
    execute(writer, place.code);
    expect(execute(reader, target)).toBe(1);
    execute(writer.load(`mov byte ptr [${target + 1}], 2\n hlt`), place.code);
    expect(execute(reader, target)).toBe(2);
  });

  test("is executed as written by a page walk that sets an accessed bit", () => {
    // The page table entry of an address that nothing else uses, which is `add eax, 0x500; add [rax], al; hlt` too.
    const free = 0x1f_0000;
    const entry = place.pageTable + (free >>> 12) * 8;
    writer.guest.ram.set([0x05, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0xf4], entry);
    for (const guest of [writer, reader]) guest.processor.invalidatePage(BigInt(free));
    reader.registers.write(0, BigInt(place.data));
    expect(execute(reader, entry)).toBe(place.data + 0x500);
    execute(writer.load(`mov al, [${free}]\n hlt`), place.code);
    // Opcode 0x05 has become 0x25: AND.
    reader.registers.write(0, BigInt(place.data));
    expect(execute(reader, entry)).toBe(0);
  });
});
