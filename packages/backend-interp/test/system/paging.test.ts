import { describe, expect, test } from "vitest";
import { ProtectedGuest, page, place } from "../support/protected-guest.ts";

const data = place.data;
const all = page.present | page.writable | page.user;
const noExecute = 1n << 63n;

/** Error code bits (Intel SDM Vol. 3A §6.15, figure 4-12). */
const code = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 };

describe.each([64, 32] as const)("paging in %i-bit code", (width) => {
  const accumulator = width === 64 ? "rax" : "eax";
  const pointer = width === 64 ? "rbx" : "ebx";

  test.each([
    ["a read of an absent page", 0, `mov eax, [${pointer}]`, 0],
    ["a write to an absent page", 0, `mov [${pointer}], eax`, code.write],
    ["a write to a read-only page", page.present | page.user, `mov [${pointer}], eax`, code.present | code.write],
  ])("%s at privilege 0", (_, entry, instruction, errorCode) => {
    const guest = new ProtectedGuest(width);
    guest.map(data, data | entry);
    if (entry === 0) guest.map(data, 0);
    guest.load(`mov ${pointer}, ${data + 0x123}\n${instruction}`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode, cs: 8 });
    expect(guest.registers.cr2).toBe(BigInt(data + 0x123));
  });

  test("privilege 0 may write to a read-only page while CR0.WP is clear", () => {
    const guest = new ProtectedGuest(width);
    guest.map(data, data | page.present);
    guest
      .load(`mov ${accumulator}, cr0\n and eax, ~0x10000\n mov cr0, ${accumulator}\n mov byte ptr [${data}], 7\n hlt`)
      .run();
    expect(guest.guest.ram[data]).toBe(7);
  });

  test.each([
    ["reads a supervisor page", page.present | page.writable, `mov eax, [${pointer}]`, code.present | code.user],
    [
      "writes to a supervisor page",
      page.present | page.writable,
      `mov [${pointer}], eax`,
      code.present | code.user | code.write,
    ],
    [
      "writes to a read-only page",
      page.present | page.user,
      `inc dword ptr [${pointer}]`,
      code.present | code.user | code.write,
    ],
    ["executes a supervisor page", page.present | page.writable, `jmp ${pointer}`, code.present | code.user],
  ])("privilege 3 %s", (_, entry, instruction, errorCode) => {
    const guest = new ProtectedGuest(width);
    guest.map(data, data | entry);
    guest.loadUser(`mov ${pointer}, ${data}\n${instruction}`).run();
    expect(guest.frame).toMatchObject({ vector: 14, rsp: place.userStack });
    // Without NX and SMEP there is no bit for fetches.
    expect((guest.frame.errorCode as number) & ~code.fetch).toBe(errorCode);
    expect(guest.registers.cr2).toBe(BigInt(data));
    expect(guest.frame.cs & 3).toBe(3);
  });

  test("accessed and dirty bits", () => {
    const guest = new ProtectedGuest(width);
    guest.load(`mov eax, [${data}]\n mov [${data + 0x1000}], eax\n hlt`).run();
    const bits = BigInt(page.accessed | page.dirty);
    expect(guest.entry(data) & bits).toBe(BigInt(page.accessed));
    expect(guest.entry(data + 0x1000) & bits).toBe(bits);
    expect(guest.entry(data + 0x2000) & bits).toBe(0n);
    guest.load(`mov [${data}], eax\n hlt`);
    guest.registers.rip = BigInt(place.code);
    guest.resume();
    expect(guest.entry(data) & bits).toBe(bits);
  });

  test("a store that crosses into a page that faults writes nothing", () => {
    const guest = new ProtectedGuest(width);
    guest.map(data + 0x1000, data + 0x1000 + page.present);
    guest.guest.ram.fill(0x55, data + 0xff0, data + 0x1010);
    guest.load(`mov eax, -1\n mov [${data + 0xffe}], eax`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode: code.present | code.write });
    expect(guest.registers.cr2).toBe(BigInt(data + 0x1000));
    expect(guest.guest.ram.subarray(data + 0xff0, data + 0x1010).every((byte) => byte === 0x55)).toBe(true);
  });

  test("a load and a store across pages that lie apart in RAM", () => {
    const guest = new ProtectedGuest(width);
    guest.map(data + 0x1000, (data + 0x8000) | all);
    guest
      .load(`
      mov dword ptr [${data + 0xffd}], 0x44332211
      mov eax, [${data + 0xffe}]
      add dword ptr [${data + 0xfff}], 0x01010101
      hlt`)
      .run();
    expect(guest.registers.low(0) & 0xff_ffff).toBe(0x44_3322);
    const { ram } = guest.guest;
    expect([...ram.subarray(data + 0xffd, data + 0x1000)]).toEqual([0x11, 0x22, 0x34]);
    expect([...ram.subarray(data + 0x8000, data + 0x8003)]).toEqual([0x45, 0x01, 0x01]);
    expect(ram[data + 0x1000]).toBe(0);
  });

  test("the old translation lives until INVLPG", () => {
    const guest = new ProtectedGuest(width);
    guest.guest.ram[data] = 1;
    guest.guest.ram[data + 0x1000] = 2;
    const entry = place.pageTable + (data >>> 12) * (width === 64 ? 8 : 4);
    guest
      .load(`
      mov cl, [${data}]
      mov dword ptr [${entry}], ${(data + 0x1000) | all}
      invlpg [${data}]
      mov ch, [${data}]
      hlt`)
      .run();
    expect(guest.registers.low(1) & 0xffff).toBe(0x0201);
  });

  test("a load of CR3 keeps translations of global pages only", () => {
    const guest = new ProtectedGuest(width);
    const { ram, view } = guest.guest;
    const entrySize = width === 64 ? 8 : 4;
    ram[data + 0x2000] = 3;
    guest.map(data, data | all);
    guest.map(data + 0x1000, (data + 0x1000) | all | page.global);
    guest
      .load(`
      mov al, [${data}]
      mov al, [${data + 0x1000}]
      hlt
      mov ${accumulator}, cr3
      mov cr3, ${accumulator}
      mov cl, [${data}]
      mov ch, [${data + 0x1000}]
      hlt
      mov ${accumulator}, cr4
      xor al, 0x80
      mov cr4, ${accumulator}
      mov dh, [${data + 0x1000}]
      hlt`)
      .run();
    for (const at of [data, data + 0x1000]) {
      view.setUint32(place.pageTable + (at >>> 12) * entrySize, (data + 0x2000) | all | page.global, true);
    }
    guest.resume();
    expect(guest.registers.low(1) & 0xffff).toBe(0x0003);
    guest.resume();
    expect((guest.registers.low(2) >>> 8) & 0xff).toBe(3);
  });

  test("code that is mapped anew is what executes", () => {
    const guest = new ProtectedGuest(width);
    guest.load("mov al, 1\n ret", data);
    guest.load("mov al, 2\n ret", data + 0x1000);
    const entry = place.pageTable + (data >>> 12) * (width === 64 ? 8 : 4);
    guest
      .load(`
      mov ${pointer}, ${data}
      call ${pointer}
      mov cl, al
      mov dword ptr [${entry}], ${(data + 0x1000) | all}
      invlpg [${data}]
      call ${pointer}
      mov ch, al
      hlt`)
      .run();
    expect(guest.registers.low(1) & 0xffff).toBe(0x0201);
  });
});

describe("4-level paging", () => {
  test("NX: the error code tells of the fetch", () => {
    const guest = new ProtectedGuest(64);
    guest.map(data, BigInt(data | all) | noExecute);
    guest.load(`mov eax, [${data}]\n mov rbx, ${data}\n jmp rbx`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode: code.present | code.fetch, rip: data });
  });

  test("reserved bits", () => {
    const guest = new ProtectedGuest(64);
    guest.map(data, BigInt(data | all) | (1n << 45n));
    guest.load(`mov eax, [${data}]`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode: code.present | code.reserved });
  });

  test("NX is a reserved bit while EFER.NXE is clear", () => {
    const guest = new ProtectedGuest(64);
    guest.map(data, BigInt(data | all) | noExecute);
    guest.load(`mov ecx, 0xc0000080\n rdmsr\n and eax, ~0x800\n wrmsr\n mov eax, [${data}]`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode: code.present | code.reserved });
  });

  test("SMEP: privilege 0 does not execute user pages", () => {
    const guest = new ProtectedGuest(64);
    for (const at of [place.code, place.handlers]) guest.map(at, at | page.present | page.writable);
    guest.load(`mov rax, cr4\n or eax, 0x100000\n mov cr4, rax\n mov rbx, ${data}\n jmp rbx`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode: code.present | code.fetch });
  });

  test.each([
    ["2 MiB", 0x3008, 0x20_0000],
    ["1 GiB", 0x2008, 0x4000_0000],
  ])("pages of %s", (_, entry, address) => {
    const guest = new ProtectedGuest(64);
    guest.guest.view.setBigUint64(entry, BigInt(all | page.large), true);
    guest
      .load(
        `mov ebx, ${address}\n mov dword ptr [rbx + ${data + 0x124}], 0x12345678\n mov eax, [rbx + ${data + 0x126}]\n hlt`,
      )
      .run();
    expect(guest.guest.view.getUint32(data + 0x124, true)).toBe(0x1234_5678);
    expect(guest.registers.low(0)).toBe(0x1234);
    const bits = BigInt(page.accessed | page.dirty);
    expect(guest.guest.view.getBigUint64(entry, true) & bits).toBe(bits);
  });

  test("INVLPG of one part of a large page forgets all of it", () => {
    const guest = new ProtectedGuest(64);
    const { view, ram } = guest.guest;
    view.setBigUint64(0x3008, BigInt(all | page.large), true);
    ram[data] = 1;
    ram[0x20_0000 + data] = 2;
    guest
      .load(`
      mov ebx, ${0x20_0000 + data}
      mov cl, [rbx]
      mov al, [rbx + 0x1000]
      mov dword ptr [0x3008], ${0x20_0000 | all | page.large}
      invlpg [rbx + 0x1000]
      mov ch, [rbx]
      hlt`)
      .run();
    expect(guest.registers.low(1) & 0xffff).toBe(0x0201);
  });

  test.each([
    ["data", "mov rbx, 0x800000000000\n mov eax, [rbx]", 13],
    ["the stack", "mov rsp, 0x900000000000\n push rax", 12],
    ["RBP", "mov rbp, 0x800000000000\n mov eax, [rbp + 8]", 12],
  ])("an address that is not canonical: %s", (_, source, vector) => {
    const guest = new ProtectedGuest(64);
    guest.gate(12, { target: place.handlers + 12 * 8, stack: 1 });
    guest.load(source).run();
    expect(guest.frame).toMatchObject({ vector, errorCode: 0 });
  });

  test("a jump to an address that is not canonical is what faults", () => {
    const guest = new ProtectedGuest(64);
    guest.load("mov rbx, 0x800000000000\n jmp rbx").run();
    expect(guest.frame).toMatchObject({ vector: 13, errorCode: 0, rip: place.code + 10 });
  });
});

describe("32-bit paging", () => {
  test("pages of 4 MiB", () => {
    const guest = new ProtectedGuest(32);
    guest.guest.view.setUint32(place.pageTables + 4, all | page.large, true);
    guest.load(`mov dword ptr [${0x40_0000 + data}], 0x1234\n hlt`).run();
    expect(guest.guest.view.getUint32(data, true)).toBe(0x1234);
  });

  test("PAE: three levels, and reserved bits of a pointer fault when CR3 is loaded", () => {
    const guest = new ProtectedGuest(32);
    const { view } = guest.guest;
    const tables = 0x6_0000;
    view.setBigUint64(tables, BigInt(tables + 0x1000) | 1n, true);
    view.setBigUint64(tables + 0x1000, BigInt(tables + 0x2000) | BigInt(all), true);
    for (let index = 0; index < 512; index++) {
      view.setBigUint64(tables + 0x2000 + index * 8, BigInt(index * 0x1000) | BigInt(all), true);
    }
    view.setBigUint64(tables + 0x2000 + (data >>> 12) * 8, BigInt(data + 0x1000) | BigInt(all), true);
    guest.guest.ram[data + 0x1000] = 0x77;
    guest
      .load(`
      mov eax, cr0
      and eax, 0x7fffffff
      mov cr0, eax
      mov eax, cr4
      or eax, 0x20
      mov cr4, eax
      mov eax, ${tables}
      mov cr3, eax
      mov eax, cr0
      or eax, 0x80000000
      mov cr0, eax
      mov cl, [${data}]
      or dword ptr [${tables}], 2
      mov eax, ${tables}
      mov cr3, eax`)
      .run();
    expect(guest.registers.low(1) & 0xff).toBe(0x77);
    expect(guest.frame).toMatchObject({ vector: 13, errorCode: 0 });
  });
});

describe("memory-mapped devices", () => {
  test("each width, and 8 bytes as two accesses of 4, low half first", () => {
    const guest = new ProtectedGuest(64);
    const base = 0xfed0_0000;
    guest.map(data, BigInt(base) | BigInt(all));
    const accesses: string[] = [];
    guest.guest.bus.mmio.claim("test", base, 0x1000, {
      read: (offset, size) => {
        accesses.push(`read ${offset} ${size}`);
        return [0x11, 0x2222, 0x3333_3333, 0x4444_4444][[0, 8, 16, 20].indexOf(offset)] ?? 0;
      },
      write: (offset, size, value) => accesses.push(`write ${offset} ${size} 0x${value.toString(16)}`),
    });
    guest
      .load(`
      mov rbx, ${data}
      mov cl, [rbx]
      mov dx, [rbx + 8]
      mov rax, [rbx + 16]
      mov [rbx + 1], cl
      mov [rbx + 10], dx
      mov [rbx + 24], rax
      inc dword ptr [rbx + 20]
      hlt`)
      .run();
    expect(accesses).toEqual([
      "read 0 1",
      "read 8 2",
      "read 16 4",
      "read 20 4",
      "write 1 1 0x11",
      "write 10 2 0x2222",
      "write 24 4 0x33333333",
      "write 28 4 0x44444444",
      "read 20 4",
      "write 20 4 0x44444445",
    ]);
    expect(guest.registers.read(0)).toBe(0x4444_4444_3333_3333n);
  });

  test("what nobody answers reads as ones", () => {
    const guest = new ProtectedGuest(64);
    guest.map(data, 0xfed0_0000n | BigInt(all));
    guest.load(`mov eax, [${data}]\n hlt`).run();
    expect(guest.registers.low(0)).toBe(0xffff_ffff);
  });
});
