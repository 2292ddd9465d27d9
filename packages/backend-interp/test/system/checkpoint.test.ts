import { isCprError, type ProcessorState } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { restoreProcessor, saveProcessor } from "../../src/system/processor-checkpoint.ts";
import { makeGuest } from "../support/guest.ts";
import { ProtectedGuest, page, place, selector } from "../support/protected-guest.ts";

/** A program that leaves nothing out that a checkpoint could forget: faults, system calls, interrupts, x87, SSE, strings, debug state. */
const program = `
  mov ecx, 0xc0000081
  xor eax, eax
  mov edx, ${((selector.userCode32 & ~3) << 16) | selector.code}
  wrmsr
  inc ecx
  lea rax, entry[rip]
  xor edx, edx
  wrmsr
  mov ecx, 0xc0000084
  mov eax, 0x40600
  wrmsr
  mov ecx, 0xc0000102
  mov eax, 0x1234
  wrmsr
  fninit
  fldpi
  fld1
  push 3
  cvtsi2sd xmm0, qword ptr [rsp]
  pop rax
  push ${selector.userData}
  push ${place.userStack}
  push 0x202
  push ${selector.userCode64}
  push ${place.userCode}
  iretq
entry:
  swapgs
  mov r8, gs:[${place.data - 0x1234}]
  sti
  add r8, r11
  swapgs
  sysretq`;
const userProgram = `
  mov r15d, 20
again:
  fadd st, st(1)
  addsd xmm0, xmm0
  movq rax, xmm0
  add r14, rax
  mov edi, ${place.data + 0xff0}
  mov ecx, 40
  mov eax, r15d
  rep stosb
  mov esi, ${place.data + 0xfe0}
  mov edi, ${place.data + 0x2ff8}
  mov ecx, 5
  rep movsq
  mov eax, [${place.data + 0x4000}]
  syscall
  add r14, r8
  cmp r15d, 10
  adc r14, 5
  pushfq
  xor qword ptr [rsp], 0x400
  popfq
  lodsb
  xadd r14, rax
  pushfq
  xor qword ptr [rsp], 0x400
  popfq
  rol r14, 7
  dec r15d
  jnz again
  fstp tbyte ptr [${place.data + 0x100}]
  ud2`;

/** A handler of page faults that maps the page and lets the instruction be tried again. */
const pageFaultHandler = `
  or dword ptr [${place.pageTable + ((place.data + 0x4000) >>> 12) * 8}], ${page.present}
  add rsp, 8
  add r13, 1
  iretq`;
const interruptHandler = "inc r12\n iretq";

function prepared(): ProtectedGuest {
  const guest = new ProtectedGuest(64);
  guest.map(place.data + 0x4000, (place.data + 0x4000) | page.writable | page.user);
  guest.load(pageFaultHandler, 0x1_2000).gate(14, { target: 0x1_2000 });
  guest.load(interruptHandler, 0x1_3000).gate(0x30, { target: 0x1_3000 });
  guest.load(userProgram, place.userCode);
  return guest.load(program);
}

/** What a run ends with. */
function end(guest: ProtectedGuest): { state: ProcessorState; ram: Uint8Array } {
  return { state: saveProcessor(guest.processor), ram: guest.guest.ram.slice(0, 0x10_0000) };
}

/** Executes step by step, with an interrupt every so often; `between` may exchange the guest. */
function play(first: ProtectedGuest, between: (guest: ProtectedGuest, step: number) => ProtectedGuest): ProtectedGuest {
  let guest = first;
  for (let step = 0; ; step++) {
    if (step % 37 === 0) guest.guest.interrupts.raise(0x30);
    if (!guest.processor.step()) return guest;
    guest = between(guest, step);
  }
}

describe("a vCPU's state", () => {
  test("saved and restored behind every instruction, a program comes to the same end", () => {
    const whole = play(prepared(), (guest) => guest);
    expect(whole.frame.vector).toBe(6);
    expect(whole.registers.read(13)).toBe(1n);
    expect(whole.registers.read(12)).toBeGreaterThan(10n);
    let moves = 0;
    let spare = new ProtectedGuest(64);
    const moved = play(prepared(), (guest) => {
      const copy = spare;
      copy.processor.reset();
      copy.guest.ram.set(guest.guest.ram.subarray(0, 0x10_0000));
      const state = structuredClone(saveProcessor(guest.processor));
      restoreProcessor(copy.processor, state);
      expect(saveProcessor(copy.processor)).toEqual(state);
      // What waits in the interrupt controller is that one's to save.
      if (guest.guest.interrupts.pending()) copy.guest.interrupts.raise(guest.guest.interrupts.acknowledge());
      moves += 1;
      spare = guest;
      return copy;
    });
    expect(end(moved)).toEqual(end(whole));
    expect(moves).toBeGreaterThan(500);
  });

  test("executed in blocks, the program comes to the end that it comes to step by step", () => {
    const steps = prepared();
    while (steps.processor.step());
    const blocks = prepared().run();
    expect(end(blocks)).toEqual(end(steps));
    expect(blocks.processor.executed).toBe(steps.processor.executed);
  });

  test("the shadow of STI, a pending NMI and the halted state are in it", () => {
    const guest = new ProtectedGuest(64).load("sti\n nop\n hlt");
    guest.processor.step();
    expect(saveProcessor(guest.processor).interruptShadow).toBe(1);
    guest.processor.nmiMasked = true;
    guest.processor.nmiPending = true;
    guest.run();
    const state = saveProcessor(guest.processor);
    expect(state).toMatchObject({ activity: 3, interruptShadow: 0, nmiMasked: true, nmiPending: true });
    const other = makeGuest();
    restoreProcessor(other.processor, state);
    expect(other.processor.run(100)).toBe("idle");
    expect(saveProcessor(other.processor)).toEqual(state);
  });

  test("the shadow holds after a restore", () => {
    const guest = new ProtectedGuest(64).load("nop\n inc eax\n inc eax\n hlt");
    restoreProcessor(guest.processor, { ...saveProcessor(guest.processor), rflags: 0x202n, interruptShadow: 1 });
    guest.guest.interrupts.raise(0x40);
    expect(guest.run().frame).toMatchObject({ vector: 0x40, rip: place.code + 1 });
  });

  test.each([
    ["an external interrupt", { kind: 0, vector: 0x44 }, { vector: 0x44, rip: place.code }],
    ["an exception", { kind: 3, vector: 13, hasErrorCode: true, errorCode: 0x18 }, { vector: 13, errorCode: 0x18 }],
    ["an NMI", { kind: 2, vector: 2 }, { vector: 2, rip: place.code }],
    ["a software interrupt, which its instruction makes again", { kind: 4, vector: 0x46 }, { vector: 0x45 }],
  ])("whose delivery had begun: %s", (_, event, frame) => {
    const guest = new ProtectedGuest(64).load("int 0x45");
    const pendingEvent = { valid: true, hasErrorCode: false, errorCode: 0, ...event };
    restoreProcessor(guest.processor, { ...saveProcessor(guest.processor), pendingEvent });
    expect(saveProcessor(guest.processor).pendingEvent).toEqual(pendingEvent);
    expect(guest.run().frame).toMatchObject(frame);
  });

  test("that is impossible is refused with a reason, and changes nothing", () => {
    const guest = new ProtectedGuest(64);
    const good = saveProcessor(guest.processor);
    const [msr, ...msrs] = good.msrs;
    const segments = (change: object) =>
      good.segments.map((each, index) => (index === 1 ? { ...each, ...change } : each));
    const bad: Partial<ProcessorState>[] = [
      { cr0: good.cr0 & ~1n },
      { cr4: good.cr4 | (1n << 40n) },
      { cr4: good.cr4 & ~0x20n },
      { efer: good.efer & ~0x400n },
      { efer: good.efer | 2n },
      { cr3: 1n << 50n },
      { rflags: 0n },
      { rflags: 0x2_0002n },
      { rip: 1n << 60n },
      { xcr0: 0n },
      { xsave: new Uint8Array(4096).fill(0xff) },
      { segments: segments({ base: 1n << 60n }) },
      { segments: segments({ attributes: 0xf09b }) },
      { msrs: [{ index: 0x1234, value: 0n }, ...msrs] },
      { msrs: [{ index: 0x277, value: 2n }, ...msrs] },
      { interruptShadow: 9 },
      { pendingEvent: { valid: true, kind: 7, vector: 0, hasErrorCode: false, errorCode: 0 } },
    ];
    expect(msr).toBeDefined();
    for (const change of bad) {
      const error = thrown(() => restoreProcessor(guest.processor, { ...good, ...change }));
      expect(isCprError(error), JSON.stringify(Object.keys(change))).toBe(true);
      expect(saveProcessor(guest.processor)).toEqual(good);
    }
  });
});

function thrown(body: () => void): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
}
