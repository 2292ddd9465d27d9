import { describe, expect, test } from "vitest";
import { activity } from "../../src/system/processor.ts";
import { ProtectedGuest, page, place, selector } from "../support/protected-guest.ts";

const interruptFlag = 0x200;
const resumeFlag = 0x1_0000;

describe("exceptions in long mode", () => {
  test.each([
    ["a division by zero", "xor ecx, ecx\n div ecx", 0, undefined],
    ["an undefined instruction", "ud2", 6, undefined],
    ["a segment that does not exist", "mov ax, 0x80\n mov ds, ax", 13, 0x80],
    ["a misaligned operand", `movaps xmm0, [${place.data + 1}]`, 13, 0],
    ["an unknown model-specific register", "mov ecx, 0x12345678\n rdmsr", 13, 0],
    ["reserved bits of CR4", "mov rax, cr4\n bts rax, 40\n mov cr4, rax", 13, 0],
    ["paging off in 64-bit mode", "mov rax, cr0\n btr rax, 31\n mov cr0, rax", 13, 0],
  ])("%s", (_, source, vector, errorCode) => {
    const guest = new ProtectedGuest(64).load(source).run();
    expect(guest.frame).toMatchObject({ vector, errorCode, cs: selector.code, ss: selector.data, rsp: place.stack });
    // A fault: RIP is the instruction's, and RF is set in the stored flags.
    expect(guest.frame.flags & resumeFlag).toBe(resumeFlag);
  });

  test("the frame is aligned to 16 bytes, on the same stack if the privilege stays", () => {
    const guest = new ProtectedGuest(64).load(`sub rsp, 5\n int 0x40`).run();
    expect(guest.frame).toMatchObject({ vector: 0x40, rsp: place.stack - 5, rip: place.code + 6 });
    expect(guest.registers.read(4)).toBe(BigInt(((place.stack - 5) & ~15) - 40));
    expect(guest.frame.flags & resumeFlag).toBe(0);
  });

  test("a gate with an interrupt stack switches to it whatever the privilege", () => {
    const guest = new ProtectedGuest(64);
    guest.gate(0x41, { target: place.handlers + 0x41 * 8, stack: 1 });
    guest.load("int 0x41").run();
    expect(guest.registers.read(4)).toBe(BigInt(place.interruptStack - 40));
    expect(guest.frame).toMatchObject({ rsp: place.stack, ss: selector.data });
    expect(guest.registers.selector(2)).toBe(selector.data);
  });

  test("an interrupt at privilege 3 takes RSP0 and a null SS; IRETQ goes back", () => {
    const guest = new ProtectedGuest(64);
    guest.gate(0x42, { target: place.handlers + 0x42 * 8, privilege: 3 });
    guest.loadUser("mov eax, 5\n int 0x42\n mov ebx, 6\n ud2").run();
    expect(guest.frame).toMatchObject({
      vector: 0x42,
      cs: selector.userCode64,
      ss: selector.userData,
      rsp: place.userStack,
    });
    expect(guest.registers.read(4)).toBe(BigInt(place.innerStack - 40));
    expect(guest.registers.selector(2)).toBe(0);
    expect(guest.registers.cpl).toBe(0);
    guest.load("iretq", place.handlers + 0x42 * 8 + 1);
    guest.resume();
    expect(guest.frame.vector).toBe(6);
    expect(guest.registers.low(3)).toBe(6);
  });

  test.each([
    ["INT to a gate of privilege 0", "int 0x43", 13, 0x43 * 8 + 2],
    ["a privileged instruction", "hlt", 13, 0],
    ["CLI above IOPL", "cli", 13, 0],
    ["a port without permission", "in al, 0x80", 13, 0],
  ])("at privilege 3: %s", (_, source, vector, errorCode) => {
    expect(new ProtectedGuest(64).loadUser(source).run().frame).toMatchObject({
      vector,
      errorCode,
      rip: place.userCode,
    });
  });

  test("the I/O permission bitmap allows ports one by one", () => {
    const guest = new ProtectedGuest(64);
    const { view, bus, ram } = guest.guest;
    view.setUint16(place.tss + 0x66, 0x68, true);
    ram.fill(0xff, place.tss + 0x68, place.tss + 0x100);
    ram[place.tss + 0x68 + (0x80 >> 3)] = 0xfc;
    bus.ports.claim("test", 0x80, 4, { read: () => 0x1234, write: () => undefined });
    guest.loadUser("in ax, 0x80\n mov ecx, eax\n in al, 0x82").run();
    expect(guest.frame).toMatchObject({ vector: 13, errorCode: 0 });
    expect(guest.registers.low(1) & 0xffff).toBe(0x1234);
  });

  test.each([
    [
      "a gate that is not present",
      11,
      0x44 * 8 + 2,
      (guest: ProtectedGuest) => guest.guest.view.setUint8(place.idt + 0x445, 0x0e),
    ],
    ["a gate of another type", 13, 0x44 * 8 + 2, (guest: ProtectedGuest) => guest.gate(0x44, { target: 0, type: 5 })],
    [
      "a gate to a data segment",
      13,
      selector.data,
      (guest: ProtectedGuest) => guest.gate(0x44, { target: 0, selector: selector.data }),
    ],
    ["a gate to no segment", 13, 0, (guest: ProtectedGuest) => guest.gate(0x44, { target: 0, selector: 0 })],
    [
      "a vector beyond the IDT",
      13,
      0x44 * 8 + 2,
      (guest: ProtectedGuest) => {
        guest.registers.idtr = { base: BigInt(place.idt), limit: 0x43f };
      },
    ],
  ])("INT through %s", (_, vector, errorCode, prepare) => {
    const guest = new ProtectedGuest(64).load("int 0x44");
    prepare(guest);
    expect(guest.run().frame).toMatchObject({ vector, errorCode, rip: place.code });
  });

  test("a fault in delivering a page fault is a double fault, with error code 0", () => {
    const guest = new ProtectedGuest(64);
    guest.gate(14, { target: 0, selector: 0 });
    guest.gate(8, { target: place.handlers + 8 * 8, stack: 1 });
    guest.map(place.data, 0);
    guest.load(`mov eax, [${place.data}]`).run();
    expect(guest.frame).toMatchObject({ vector: 8, errorCode: 0, rip: place.code });
  });

  test("an exception behind a benign one is delivered by itself", () => {
    const guest = new ProtectedGuest(64);
    guest.gate(6, { target: 0, selector: 0 });
    expect(guest.load("ud2").run().frame).toMatchObject({ vector: 13, errorCode: 1, rip: place.code });
  });

  test("a fault in delivering a double fault shuts the processor down where it was", () => {
    const guest = new ProtectedGuest(64);
    guest.registers.idtr = { base: 0n, limit: 0 };
    guest.load("ud2");
    expect(guest.processor.run(100)).toBe("shutdown");
    expect(guest.processor.activity).toBe(activity.shutdown);
    expect(guest.registers.rip).toBe(BigInt(place.code));
    expect(guest.processor.run(100)).toBe("shutdown");
  });
});

describe("exceptions in 32-bit protected mode", () => {
  test("from privilege 3 the stack is the TSS's", () => {
    const guest = new ProtectedGuest(32);
    guest.loadUser("xor ecx, ecx\n div ecx").run();
    expect(guest.frame).toMatchObject({
      vector: 0,
      cs: selector.userCode32,
      ss: selector.userData,
      rsp: place.userStack,
    });
    expect(guest.registers.selector(2)).toBe(selector.data);
    expect(guest.registers.read(4)).toBe(BigInt(place.innerStack - 20));
  });

  test("at the same privilege three words are stored, and IRET goes back", () => {
    const guest = new ProtectedGuest(32);
    guest.load("iretd", place.handlers + 0x45 * 8);
    guest.load("mov eax, esp\n int 0x45\n cmp eax, esp\n sete bl\n hlt").run();
    expect(guest.registers.low(3) & 0xff).toBe(1);
  });

  test("BOUND, INTO and INT3", () => {
    const guest = new ProtectedGuest(32);
    guest.guest.view.setUint32(place.data + 4, 9, true);
    guest.load(`mov eax, 10\n bound eax, [${place.data}]`).run();
    expect(guest.frame).toMatchObject({ vector: 5 });
    expect(new ProtectedGuest(32).load("mov al, 127\n inc al\n into").run().frame).toMatchObject({
      vector: 4,
      rip: place.code + 5,
    });
    expect(new ProtectedGuest(32).load("int3").run().frame).toMatchObject({ vector: 3, rip: place.code + 1 });
  });

  test("a segment's limit", () => {
    const guest = new ProtectedGuest(32);
    // 16 bytes from the data page on.
    guest.guest.view.setBigUint64(place.gdt + selector.free, 0x0040_9305_0000_000fn, true);
    guest.load(`mov ax, ${selector.free}\n mov fs, ax\n mov eax, fs:[12]\n mov ebx, 1\n mov eax, fs:[13]`).run();
    expect(guest.frame).toMatchObject({ vector: 13, errorCode: 0 });
    expect(guest.registers.low(3)).toBe(1);
  });

  test("virtual-8086 mode: IRET enters it, an interrupt leaves it and stores the data segments", () => {
    const guest = new ProtectedGuest(32);
    guest.guest.ram.set([0x8c, 0xd8, 0xcd, 0x46], place.data);
    guest.gate(0x46, { target: place.handlers + 0x46 * 8, privilege: 3 });
    guest
      .load(`
      push 0x1111
      push 0x2222
      push ${place.data >> 4}
      push 0x3333
      push ${place.userStack >> 4}
      push 0x100
      push 0x23002
      push ${place.data >> 4}
      push 0
      iretd`)
      .run();
    expect(guest.frame).toMatchObject({
      vector: 0x46,
      cs: place.data >> 4,
      rip: 4,
      rsp: 0x100,
      ss: place.userStack >> 4,
    });
    expect(guest.registers.low(0) & 0xffff).toBe(place.data >> 4);
    const stack = Number(guest.registers.read(4));
    const stored = [5, 6, 7, 8].map((index) => guest.guest.view.getUint32(stack + index * 4, true));
    expect(stored).toEqual([0x3333, place.data >> 4, 0x2222, 0x1111]);
    expect(guest.registers.segmentUnusable(3)).toBe(true);
  });
});

describe("interrupts", () => {
  const withInterrupts = (source: string): ProtectedGuest => new ProtectedGuest(64).load(source);

  test("HLT waits for one, and goes on behind it", () => {
    const guest = withInterrupts("sti\n hlt\n mov eax, 7\n cli\n hlt");
    guest.load("iretq", place.handlers + 0x50 * 8);
    guest.run();
    expect(guest.processor.hasWork()).toBe(false);
    guest.guest.interrupts.raise(0x50);
    expect(guest.processor.hasWork()).toBe(true);
    guest.run();
    expect(guest.registers.low(0)).toBe(7);
    expect(guest.guest.interrupts.acknowledged).toEqual([0x50]);
    expect(guest.registers.systemFlags & interruptFlag).toBe(0);
  });

  test("an interrupt gate disables them, a trap gate does not", () => {
    for (const [type, expected] of [
      [14, 0],
      [15, interruptFlag],
    ] as const) {
      const guest = withInterrupts("sti\n int 0x51");
      guest.gate(0x51, { target: place.handlers + 0x51 * 8, type });
      guest.run();
      expect(guest.registers.systemFlags & interruptFlag).toBe(expected);
    }
  });

  test("STI holds them off for one instruction", () => {
    const guest = withInterrupts("sti\n inc eax\n inc ecx\n hlt");
    guest.guest.interrupts.raise(0x52);
    guest.run();
    expect(guest.frame).toMatchObject({ vector: 0x52, rip: place.code + 3 });
    expect([guest.registers.low(0), guest.registers.low(1)]).toEqual([1, 0]);
  });

  test("STI directly before HLT loses no wake-up", () => {
    const guest = withInterrupts("sti\n hlt\n ud2");
    guest.guest.interrupts.raise(0x52);
    guest.run();
    expect(guest.frame).toMatchObject({ vector: 0x52, rip: place.code + 2 });
  });

  test("a load of SS holds off interrupts and the trap flag's exception for one instruction", () => {
    const guest = withInterrupts(`
      mov ax, ${selector.data}
      pushfq
      or dword ptr [rsp], 0x100
      popfq
      mov ss, ax
      inc ecx
      inc edx
      hlt`);
    guest.run();
    expect(guest.frame.vector).toBe(1);
    expect([guest.registers.low(1), guest.registers.low(2)]).toEqual([1, 0]);
  });

  test("enabling them with POPF takes one that waits at once", () => {
    const guest = withInterrupts("pushfq\n or dword ptr [rsp], 0x200\n popfq\n inc eax\n hlt");
    guest.guest.interrupts.raise(0x53);
    expect(guest.run().frame.vector).toBe(0x53);
    expect(guest.registers.low(0)).toBe(0);
  });

  test("CR8 lowers what is let through", () => {
    const guest = withInterrupts(
      "mov eax, 6\n mov cr8, rax\n sti\n nop\n nop\n xor eax, eax\n mov cr8, rax\n nop\n ud2",
    );
    guest.guest.interrupts.raise(0x60);
    guest.run();
    expect(guest.frame.vector).toBe(0x60);
    expect(guest.registers.low(0)).toBe(0);
  });

  test("an NMI comes through CLI, and the next one waits for IRET", () => {
    const guest = withInterrupts("cli\n inc eax\n inc eax\n hlt");
    guest.guest.interrupts.send({ kind: "nmi" });
    guest.run();
    expect(guest.frame).toMatchObject({ vector: 2, rip: place.code });
    guest.guest.interrupts.send({ kind: "nmi" });
    expect(guest.processor.hasWork()).toBe(false);
    guest.load("iretq", place.handlers + 2 * 8 + 1);
    guest.resume();
    // The second one's handler, entered from the instruction that the first one had interrupted.
    expect(guest.frame).toMatchObject({ vector: 2, rip: place.code });
  });

  test("INIT begins again at the reset vector; a start-up IPI is for those that wait", () => {
    const guest = withInterrupts("hlt").run();
    guest.guest.interrupts.send({ kind: "init" });
    expect(guest.processor.hasWork()).toBe(true);
    expect(guest.registers.rip).toBe(0xfff0n);
    expect(guest.registers.segmentBase(1)).toBe(0xffff_0000n);
    guest.guest.interrupts.send({ kind: "startup", vector: 9 });
    guest.processor.hasWork();
    expect(guest.registers.rip).toBe(0xfff0n);
    guest.processor.activity = activity.waitingForStartup;
    guest.guest.interrupts.send({ kind: "startup", vector: 9 });
    expect(guest.processor.hasWork()).toBe(true);
    expect([guest.registers.rip, guest.registers.segmentBase(1)]).toEqual([0n, 0x9000n]);
  });
});

describe("debug exceptions", () => {
  test("the trap flag stops behind each instruction", () => {
    const guest = new ProtectedGuest(64);
    guest.load("pushfq\n or dword ptr [rsp], 0x100\n popfq\n inc eax\n inc eax\n hlt").run();
    expect(guest.frame.vector).toBe(1);
    expect(guest.registers.low(0)).toBe(1);
    expect(guest.registers.debug(6) & 0x4000n).toBe(0x4000n);
    expect(guest.registers.systemFlags & 0x100).toBe(0);
  });

  test("the trap flag stops behind each element of a repeated instruction", () => {
    const guest = new ProtectedGuest(64);
    guest
      .load(`
      mov ecx, 4
      mov edi, ${place.data}
      pushfq
      or dword ptr [rsp], 0x100
      popfq
      rep stosb
      hlt`)
      .run();
    expect([guest.frame.vector, guest.registers.low(1)]).toEqual([1, 3]);
  });

  test("an instruction breakpoint stops before the instruction, and RF lets it through", () => {
    const guest = new ProtectedGuest(64);
    guest.load("or dword ptr [rsp + 16], 0x10000\n iretq", place.handlers + 8 + 1);
    guest
      .load(
        `lea rax, target[rip]\n mov dr0, rax\n mov eax, 0x401\n mov dr7, rax\n inc ecx\n target: inc edx\n inc edx\n hlt`,
      )
      .run();
    expect(guest.frame.vector).toBe(1);
    expect([guest.registers.low(1), guest.registers.low(2)]).toEqual([1, 0]);
    expect(guest.registers.debug(6) & 15n).toBe(1n);
    guest.resume();
    expect(guest.registers.low(2)).toBe(2);
  });

  test.each([
    ["a write", "mov [rbx + 2], al", 1],
    ["a read-modify-write", "inc dword ptr [rbx]", 1],
    ["a string instruction", "mov edi, ebx\n stosd", 1],
    ["a read, which is not watched for", "mov eax, [rbx]\n hlt", undefined],
    ["a write beside it", "mov [rbx + 4], al\n hlt", undefined],
  ])("a data breakpoint on writes: %s", (_, instruction, vector) => {
    const guest = new ProtectedGuest(64);
    // DR1, four bytes, writes.
    guest
      .load(
        `mov ebx, ${place.data}\n mov [rbx], eax\n mov dr1, rbx\n mov eax, 0xd00404\n mov dr7, rax\n ${instruction}\n hlt`,
      )
      .run();
    if (vector === undefined) {
      expect(() => guest.frame).toThrow(/no handler/);
    } else {
      expect(guest.frame.vector).toBe(vector);
      expect(guest.registers.debug(6) & 15n).toBe(2n);
    }
  });

  test("DR7.GD makes an access to a debug register an exception", () => {
    const guest = new ProtectedGuest(64);
    guest.load("mov eax, 0x2400\n mov dr7, rax\n mov rax, dr0").run();
    expect(guest.frame).toMatchObject({ vector: 1, rip: place.code + 8 });
    expect(guest.registers.debug(6) & 0x2000n).toBe(0x2000n);
  });
});

test("pages of the TSS and GDT are read with supervisor rights at privilege 3", () => {
  const guest = new ProtectedGuest(64);
  for (const at of [place.tss, place.gdt, place.idt, place.innerStack - 0x1000]) {
    guest.map(at, at | page.present | page.writable);
  }
  guest.loadUser("ud2").run();
  expect(guest.frame).toMatchObject({ vector: 6, cs: selector.userCode64 });
});
