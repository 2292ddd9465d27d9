import { describe, expect, test } from "vitest";
import { makeGuests } from "../support/guest.ts";
import { descriptor, ProtectedGuest, page, place, selector } from "../support/protected-guest.ts";

describe("system calls", () => {
  test("SYSCALL and SYSRET in 64-bit mode", () => {
    const guest = new ProtectedGuest(64);
    const entry = 0x1_2000;
    guest.load("mov r12, rcx\n mov r13, r11\n mov r14, rsp\n mov r15w, cs\n sysretq", entry);
    guest.load("syscall\n mov ebx, 9\n mov bp, ss\n ud2", place.userCode);
    guest
      .load(`
      mov ecx, 0xc0000081
      xor eax, eax
      mov edx, ${((selector.userCode32 & ~3) << 16) | selector.code}
      wrmsr
      inc ecx
      mov eax, ${entry}
      xor edx, edx
      wrmsr
      mov ecx, 0xc0000084
      mov eax, 0x200
      wrmsr
      push ${selector.userData}
      push ${place.userStack}
      push 0x246
      push ${selector.userCode64}
      push ${place.userCode}
      iretq`)
      .run();
    expect(guest.frame).toMatchObject({
      vector: 6,
      cs: selector.userCode64,
      ss: selector.userData,
      rsp: place.userStack,
    });
    expect(guest.frame.flags & 0xfff).toBe(0x246);
    expect(guest.registers.low(3)).toBe(9);
    expect(guest.registers.read(12)).toBe(BigInt(place.userCode + 2));
    expect(guest.registers.read(13)).toBe(0x246n);
    expect(guest.registers.read(14)).toBe(BigInt(place.userStack));
    expect(guest.registers.low(15) & 0xffff).toBe(selector.code);
    expect(guest.registers.low(5) & 0xffff).toBe(selector.userData);
  });

  test("SYSCALL is undefined while EFER.SCE is clear", () => {
    const guest = new ProtectedGuest(64);
    guest.load("mov ecx, 0xc0000080\n rdmsr\n btr eax, 0\n wrmsr\n syscall").run();
    expect(guest.frame.vector).toBe(6);
  });

  test("SYSENTER and SYSEXIT in protected mode", () => {
    const guest = new ProtectedGuest(32);
    const entry = 0x1_2000;
    guest.load(`mov edi, esp\n mov edx, ${place.userCode + 64}\n mov ecx, ${place.userStack - 32}\n sysexit`, entry);
    guest.load("mov ebx, esp\n ud2", place.userCode + 64);
    guest.loadUser("sysenter");
    // SYSEXIT's selectors are SYSENTER_CS + 16 and + 24.
    guest
      .load(`
      mov ecx, 0x174
      mov eax, ${selector.code}
      xor edx, edx
      wrmsr
      inc ecx
      mov eax, ${place.innerStack}
      wrmsr
      inc ecx
      mov eax, ${entry}
      wrmsr
      push ${selector.userData}
      push ${place.userStack}
      push 2
      push ${selector.userCode32}
      push ${place.userCode}
      iretd`)
      .run();
    expect(guest.frame).toMatchObject({ vector: 6, cs: (selector.code + 16) | 3, ss: (selector.code + 24) | 3 });
    expect(guest.registers.low(7)).toBe(place.innerStack);
    expect(guest.registers.low(3)).toBe(place.userStack - 32);
  });
});

describe("far transfers", () => {
  test("to compatibility mode and back", () => {
    const guest = new ProtectedGuest(64);
    guest.guest.view.setBigUint64(place.gdt + selector.free, descriptor(0xc09b), true);
    guest.load(`mov eax, 0xffffffff\n inc eax\n sbb ecx, ecx\n .byte 0x6a, 0x7f\n pop edx\n retf`, place.userCode, 32);
    guest
      .load(`
      lea rax, back[rip]
      sub rsp, 8
      mov dword ptr [rsp], eax
      mov dword ptr [rsp + 4], ${selector.code}
      push ${selector.free}
      push ${place.userCode}
      retfq
      back: mov rbx, -1
      hlt`)
      .run();
    expect(guest.registers.read(3)).toBe(0xffff_ffff_ffff_ffffn);
    expect(guest.registers.low(2)).toBe(0x7f);
    expect(guest.registers.mode64).toBe(true);
  });

  test("a 64-bit call gate to privilege 0, and RETF back to privilege 3", () => {
    const guest = new ProtectedGuest(64);
    const target = 0x1_3000;
    const gate = place.gdt + selector.free;
    guest.guest.view.setBigUint64(
      gate,
      (BigInt(target) & 0xffffn) | (BigInt(selector.code) << 16n) | 0xec00_0000_0000n | (BigInt(target >> 16) << 48n),
      true,
    );
    guest.guest.view.setBigUint64(gate + 8, 0n, true);
    guest.load("mov r8, rsp\n mov r9w, cs\n mov r10, [rsp + 24]\n retfq", target);
    guest
      .loadUser(`call far ptr [rip + pointer]\n mov ebx, 3\n ud2\n pointer: .long 0\n .word ${selector.free | 3}`)
      .run();
    expect(guest.frame).toMatchObject({ vector: 6, cs: selector.userCode64, rsp: place.userStack });
    expect(guest.registers.low(3)).toBe(3);
    expect(guest.registers.read(8)).toBe(BigInt(place.innerStack - 32));
    expect(guest.registers.low(9) & 0xffff).toBe(selector.code);
    expect(guest.registers.read(10)).toBe(BigInt(selector.userData));
  });

  test("a 32-bit call gate copies its parameters to the inner stack", () => {
    const guest = new ProtectedGuest(32);
    const target = 0x1_3000;
    guest.guest.view.setBigUint64(
      place.gdt + selector.free,
      (BigInt(target) & 0xffffn) | (BigInt(selector.code) << 16n) | 0xec02_0000_0000n | (BigInt(target >> 16) << 48n),
      true,
    );
    guest.load("mov esi, [esp + 8]\n mov edi, [esp + 12]\n retf 8", target);
    guest
      .loadUser(`push 0x1111\n push 0x2222\n .byte 0x9a\n .long 0\n .word ${selector.free | 3}\n mov ebx, esp\n ud2`)
      .run();
    expect(guest.frame).toMatchObject({ vector: 6, cs: selector.userCode32 });
    expect([guest.registers.low(6), guest.registers.low(7)]).toEqual([0x2222, 0x1111]);
    expect(guest.registers.low(3)).toBe(place.userStack);
  });

  test.each([
    ["a data segment", selector.data, 13, selector.data],
    ["a null selector", 0, 13, 0],
    ["a selector beyond the table", 0x100, 13, 0x100],
    ["a task state segment: there are no hardware task switches", selector.tss, 13, selector.tss],
  ])("a far jump to %s", (_, value, vector, errorCode) => {
    const guest = new ProtectedGuest(32).load(`.byte 0xea\n .long ${place.code}\n .word ${value}`).run();
    expect(guest.frame).toMatchObject({ vector, errorCode, rip: place.code });
  });
});

describe("segments", () => {
  test("loads check rights, presence and set the accessed bit", () => {
    const guest = new ProtectedGuest(32);
    const { view } = guest.guest;
    view.setBigUint64(place.gdt + selector.free, descriptor(0xc092, 0x1234), true);
    guest.load(`mov ax, ${selector.free}\n mov es, ax\n hlt`).run();
    expect(view.getUint8(place.gdt + selector.free + 5)).toBe(0x93);
    expect(guest.registers.segmentBase(0)).toBe(0x1234n);
    for (const [flags, vector] of [
      [0xc013, 11],
      [0xc099, 13],
    ] as const) {
      const other = new ProtectedGuest(32);
      other.guest.view.setBigUint64(place.gdt + selector.free, descriptor(flags), true);
      other.load(`mov ax, ${selector.free}\n mov es, ax`).run();
      expect(other.frame).toMatchObject({ vector, errorCode: selector.free });
    }
  });

  test("SS must be writable data of the current privilege, and not null", () => {
    for (const [value, errorCode] of [
      [0, 0],
      [selector.code, selector.code],
      [selector.userData, selector.userData & ~3],
    ]) {
      const guest = new ProtectedGuest(32).load(`mov ax, ${value}\n mov ss, ax`).run();
      expect(guest.frame).toMatchObject({ vector: 13, errorCode });
    }
  });

  test("LAR, LSL, VERR, VERW", () => {
    const guest = new ProtectedGuest(64);
    guest
      .load(`
      mov ecx, ${selector.data}
      lar eax, ecx
      setz bl
      lsl edx, ecx
      setz bh
      verw cx
      setz sil
      mov ecx, ${selector.code}
      verw cx
      setz dil
      verr cx
      setz r8b
      mov ecx, 0x100
      lar r10d, ecx
      setz r9b
      hlt`)
      .run();
    expect(guest.registers.low(0)).toBe(0x00cf_9300);
    expect(guest.registers.low(2)).toBe(0xffff_ffff);
    expect([3, 6, 7, 8, 9].map((index) => guest.registers.low(index) & 0xffff)).toEqual([0x0101, 1, 0, 1, 0]);
  });

  test("UMIP: SGDT and its like fault at privilege 3", () => {
    const guest = new ProtectedGuest(64);
    guest.registers.cr4 |= 0x800;
    expect(guest.loadUser(`sgdt [${place.data}]`).run().frame).toMatchObject({ vector: 13, errorCode: 0 });
    const allowed = new ProtectedGuest(64).loadUser(`sgdt [${place.data}]\n ud2`).run();
    expect(allowed.guest.view.getUint16(place.data, true)).toBe(0x7f);
    expect(allowed.guest.view.getBigUint64(place.data + 2, true)).toBe(BigInt(place.gdt));
  });

  test("SWAPGS and the FS and GS base instructions", () => {
    const guest = new ProtectedGuest(64);
    guest
      .load(`
      mov rax, cr4
      bts eax, 16
      mov cr4, rax
      mov rax, 0x123456789ab
      wrgsbase rax
      xor eax, eax
      mov edx, 0xffff8000
      mov ecx, 0xc0000102
      wrmsr
      swapgs
      rdgsbase rbx
      swapgs
      rdgsbase rbp
      mov rax, 0x800000000000
      wrfsbase rax`)
      .run();
    expect(guest.frame).toMatchObject({ vector: 13, errorCode: 0 });
    expect(guest.registers.read(3)).toBe(0xffff_8000_0000_0000n);
    expect(guest.registers.read(5)).toBe(0x123_4567_89abn);
  });
});

describe("string instructions", () => {
  test("a fault in the middle leaves the registers exact, and the instruction goes on", () => {
    const guest = new ProtectedGuest(64);
    const from = place.data + 0xff0;
    const to = place.data + 0x8ff8;
    for (let index = 0; index < 0x40; index++) guest.guest.ram[from + index] = index + 1;
    guest.map(place.data + 0x9000, 0);
    guest.load(`mov esi, ${from}\n mov edi, ${to}\n mov ecx, 0x20\n rep movsb\n hlt`).run();
    expect(guest.frame).toMatchObject({ vector: 14, errorCode: 2, rip: place.code + 15 });
    expect(guest.registers.cr2).toBe(BigInt(to + 8));
    expect([1, 6, 7].map((index) => guest.registers.low(index))).toEqual([0x18, from + 8, to + 8]);
    guest.map(place.data + 0x9000, (place.data + 0x9000) | page.present | page.writable);
    guest.load("add rsp, 8\n iretq", place.handlers + 14 * 8 + 1);
    guest.resume();
    expect(guest.registers.low(1)).toBe(0);
    const bytes = [...guest.guest.ram.subarray(to, to + 0x21)];
    expect(bytes).toEqual([...Array.from({ length: 0x20 }, (_, index) => index + 1), 0]);
  });

  test("overlapping copies repeat the pattern, forwards and backwards", () => {
    const guest = new ProtectedGuest(64);
    guest.guest.ram.set([1, 2, 3], place.data);
    guest.guest.ram.set([7, 8, 9], place.data + 0x1fd);
    guest
      .load(`
      mov esi, ${place.data}
      mov edi, ${place.data + 3}
      mov ecx, 100
      rep movsb
      std
      mov esi, ${place.data + 0x1ff}
      mov edi, ${place.data + 0x1fc}
      mov ecx, 100
      rep movsb
      hlt`)
      .run();
    const { ram } = guest.guest;
    expect([...ram.subarray(place.data, place.data + 9)]).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
    expect([...ram.subarray(place.data + 0x1f4, place.data + 0x200)]).toEqual([7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9]);
    expect(guest.registers.low(7)).toBe(place.data + 0x1fc - 100);
  });

  test.each([1, 2, 4, 8])("stores of %i bytes over page borders", (size) => {
    const guest = new ProtectedGuest(64);
    const suffix = { 1: "b", 2: "w", 4: "d", 8: "q" }[size];
    const start = place.data + 0xffd;
    guest.load(`mov rax, 0x8877665544332211\n mov edi, ${start}\n mov ecx, 700\n rep stos${suffix}\n hlt`).run();
    const expected = Array.from({ length: 700 * size }, (_, index) => 0x11 * ((index % size) + 1));
    expect([...guest.guest.ram.subarray(start, start + 700 * size)]).toEqual(expected);
    expect(guest.guest.ram[start + 700 * size]).toBe(0);
    expect(guest.registers.low(7)).toBe(start + 700 * size);
  });

  test("searches stop at the element, with its flags", () => {
    const guest = new ProtectedGuest(64);
    guest.guest.ram.set(new TextEncoder().encode("hello world\0"), place.data + 0xffa);
    guest.guest.ram.set(new TextEncoder().encode("hello there\0"), place.data + 0x200);
    guest
      .load(`
      mov edi, ${place.data + 0xffa}
      xor eax, eax
      mov rcx, -1
      repne scasb
      not rcx
      mov r8, rcx
      mov esi, ${place.data + 0xffa}
      mov edi, ${place.data + 0x200}
      mov ecx, 12
      repe cmpsb
      seta r9b
      hlt`)
      .run();
    expect([8, 9, 1].map((index) => guest.registers.low(index) & 0xff)).toEqual([12, 1, 5]);
  });

  test("a count of zero does nothing, not even fault", () => {
    const guest = new ProtectedGuest(64);
    guest.map(place.data, 0);
    guest.load(`mov edi, ${place.data}\n xor ecx, ecx\n rep stosq\n hlt`).run();
    expect(guest.registers.low(7)).toBe(place.data);
  });

  test("an interrupt gets its turn within a long one", () => {
    const guest = new ProtectedGuest(64);
    guest.load(`mov edi, ${place.data}\n mov ecx, 0x80000\n mov eax, 0x1\n sti\n rep stosb\n hlt`);
    guest.processor.run(5);
    guest.guest.interrupts.raise(0x77);
    guest.run();
    expect(guest.frame.vector).toBe(0x77);
    expect(guest.registers.low(1)).toBeGreaterThan(0);
  });

  test("with 16-bit addresses they wrap within the segment", () => {
    const guest = new ProtectedGuest(32);
    guest.load(`mov edi, 0x1fffe\n mov ecx, 0x30004\n mov al, 0x5a\n .byte 0x67\n rep stosb\n hlt`).run();
    const { ram } = guest.guest;
    expect([ram[0xfffe], ram[0xffff], ram[0], ram[1], ram[2], ram[0x1_fffe]]).toEqual([0x5a, 0x5a, 0x5a, 0x5a, 0, 0]);
    expect([guest.registers.low(7), guest.registers.low(1)]).toEqual([0x1_0002, 0x3_0000]);
  });

  test("INS and OUTS", () => {
    const guest = new ProtectedGuest(64);
    const written: number[] = [];
    let next = 0x40;
    guest.guest.bus.ports.claim("test", 0x90, 1, { read: () => next++, write: (_o, _s, value) => written.push(value) });
    guest
      .load(
        `mov dx, 0x90\n mov edi, ${place.data}\n mov ecx, 4\n rep insb\n mov esi, ${place.data + 1}\n mov ecx, 3\n rep outsb\n hlt`,
      )
      .run();
    expect(written).toEqual([0x41, 0x42, 0x43]);
  });
});

describe("other instructions", () => {
  test("a bit string in memory reaches below its address", () => {
    const guest = new ProtectedGuest(32);
    guest
      .load(
        `mov ebx, ${place.data + 8}\n mov eax, -33\n bts [ebx], eax\n mov cx, 17\n .byte 0x66, 0x0f, 0xab, 0x0b\n hlt`,
      )
      .run();
    expect(guest.guest.view.getUint32(place.data, true)).toBe(0x8000_0000);
    expect(guest.guest.view.getUint16(place.data + 10, true)).toBe(2);
  });

  test("decimal adjustments", () => {
    const adjusted = (source: string): number =>
      new ProtectedGuest(32).load(`${source}\n hlt`).run().registers.low(0) & 0xffff;
    expect(adjusted("mov al, 0x79\n add al, 0x35\n daa")).toBe(0x14);
    expect(adjusted("mov al, 0x14\n sub al, 0x35\n das")).toBe(0x79);
    expect(adjusted("mov ax, 0x0207\n add al, 8\n aaa")).toBe(0x0305);
    expect(adjusted("mov ax, 0x0203\n sub al, 8\n aas")).toBe(0x0105);
    expect(adjusted("mov ax, 0x0063\n aam")).toBe(0x0909);
    expect(adjusted("mov ax, 0x0707\n aad")).toBe(0x004d);
    expect(new ProtectedGuest(32).load(".byte 0xd4, 0").run().frame.vector).toBe(0);
  });

  test("CMPXCHG8B and CMPXCHG16B", () => {
    const guest = new ProtectedGuest(64);
    const { view } = guest.guest;
    view.setBigUint64(place.data, 0x1111_1111_2222_2222n, true);
    view.setBigUint64(place.data + 16, 5n, true);
    guest
      .load(`
      mov esi, ${place.data}
      mov eax, 0x22222222
      mov edx, 0x11111111
      mov ebx, 3
      mov ecx, 4
      lock cmpxchg8b [rsi]
      setz r8b
      xor eax, eax
      lock cmpxchg16b [rsi + 16]
      setz r9b
      lock cmpxchg16b [rsi + 16]
      setz r10b
      cmpxchg16b [rsi + 8]`)
      .run();
    expect(guest.frame).toMatchObject({ vector: 13, errorCode: 0 });
    expect(view.getBigUint64(place.data, true)).toBe(0x4_0000_0003n);
    expect([view.getBigUint64(place.data + 16, true), view.getBigUint64(place.data + 24, true)]).toEqual([3n, 4n]);
    expect([8, 9, 10].map((index) => guest.registers.low(index) & 1)).toEqual([1, 0, 1]);
  });

  test("CRC32 is CRC-32C", () => {
    const guest = new ProtectedGuest(64);
    const text = "123456789";
    const steps = [...text].map((digit) => `mov cl, ${digit.charCodeAt(0)}\n crc32 eax, cl`).join("\n");
    guest.load(`mov eax, -1\n ${steps}\n not eax\n hlt`).run();
    expect(guest.registers.low(0)).toBe(0xe306_9283);
  });

  test("CPUID tells the vendor, the brand and x86-64-v2", () => {
    const guest = new ProtectedGuest(64);
    const ask = (leaf: number): number[] => {
      guest.load(`mov eax, ${leaf}\n xor ecx, ecx\n cpuid\n hlt`);
      guest.registers.rip = BigInt(place.code);
      guest.resume();
      return [0, 3, 1, 2].map((index) => guest.registers.low(index));
    };
    const text = (...words: number[]) => Buffer.from(new Uint32Array(words).buffer).toString("latin1");
    const [, ebx = 0, ecx = 0, edx = 0] = ask(0);
    expect(text(ebx, edx, ecx)).toBe("AuthenticAMD");
    const brand = [0x8000_0002, 0x8000_0003, 0x8000_0004].map((leaf) => text(...ask(leaf))).join("");
    expect(brand.replace(/\0+$/, "")).toBe("cpr virtual CPU");
    const features = ask(1)[2] as number;
    // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT.
    for (const bit of [0, 9, 13, 19, 20, 23]) expect((features >>> bit) & 1, `bit ${bit}`).toBe(1);
    // No AVX; OSXSAVE follows CR4.
    for (const bit of [27, 28]) expect((features >>> bit) & 1, `bit ${bit}`).toBe(0);
  });

  test.each([
    { count: 1, bits: 0 },
    { count: 3, bits: 2 },
    { count: 8, bits: 3 },
  ])("CPUID tells of $count cores in one package", ({ count, bits }) => {
    for (const [index, each] of makeGuests(count).entries()) {
      const guest = new ProtectedGuest(64, each);
      guest.processor.activity = 0;
      const ask = (leaf: number, subleaf = 0): [number, number, number, number] => {
        guest.load(`mov eax, ${leaf}\n mov ecx, ${subleaf}\n cpuid\n hlt`);
        guest.registers.rip = BigInt(place.code);
        guest.resume();
        const { registers } = guest;
        return [registers.low(0), registers.low(3), registers.low(1), registers.low(2)];
      };
      const [, ebx, , edx] = ask(1);
      expect([ebx >>> 24, (ebx >>> 16) & 0xff]).toEqual([index, count]);
      // HTT and, of AMD's, CmpLegacy.
      const several = count > 1 ? 1 : 0;
      expect([(edx >>> 28) & 1, (ask(0x8000_0001)[2] >>> 1) & 1]).toEqual([several, several]);
      expect(ask(0xb, 0)).toEqual([0, 1, 0x100, index]);
      expect(ask(0xb, 1)).toEqual([bits, count, 0x201, index]);
      expect(ask(0xb, 2)).toEqual([0, 0, 2, index]);
      const cores = ask(0x8000_0008)[2];
      expect([cores & 0xff, cores >>> 12]).toEqual([count - 1, bits]);
    }
  });

  test("the time-stamp counter follows the clock and what software writes to it", () => {
    const guest = new ProtectedGuest(64);
    guest.guest.clock.time = 5_000;
    guest
      .load(
        "rdtsc\n mov esi, eax\n mov ecx, 0x10\n mov eax, 1000000\n xor edx, edx\n wrmsr\n hlt\n rdtsc\n mov edi, eax\n mov ecx, 0x3b\n rdmsr\n hlt",
      )
      .run();
    expect(guest.registers.low(6)).toBe(5_000);
    guest.guest.clock.time = 6_000;
    guest.resume();
    expect(guest.registers.low(7)).toBe(1_001_000);
    expect(guest.registers.low(0)).toBe(995_000);
    expect(guest.guest.interrupts.timestampCounter).toEqual({ frequency: 1_000_000_000, offset: 995_000n });
  });

  test("code that changes itself executes as it was written", () => {
    const guest = new ProtectedGuest(64);
    guest
      .load(`
      mov ecx, 3
      again: mov byte ptr patched[rip + 1], cl
      patched: mov al, 0
      add ebx, eax
      dec ecx
      jnz again
      hlt`)
      .run();
    expect(guest.registers.low(3)).toBe(6);
  });
});
