import { expect, test } from "vitest";
import { assemble } from "../support/assemble.ts";
import { type Guest, makeGuest } from "../support/guest.ts";

const origin = 0x7c00;
const stack = 0x7000;

/** A guest at the start of a program in real mode, with segments of base 0 and an interrupt table whose handlers halt. */
function realGuest(source: string): Guest {
  const guest = makeGuest();
  const { registers } = guest.processor;
  for (let index = 0; index < 6; index++) {
    registers.writeSegment(index, { ...registers.readSegment(index), selector: 0, base: 0n });
  }
  for (let vector = 0; vector < 256; vector++) {
    guest.view.setUint32(vector * 4, 0x1000 + vector * 4, true);
    guest.ram.set([0xf4, 0xeb, 0xfd], 0x1000 + vector * 4);
  }
  registers.write(4, BigInt(stack));
  registers.rip = BigInt(origin);
  guest.ram.set(assemble(16, origin, source), origin);
  guest.processor.modeChanged();
  return guest;
}

/** Vector of the handler that has halted. */
function halted({ processor }: Guest): number {
  expect(processor.run(10_000)).toBe("idle");
  return (Number(processor.registers.rip) - 1 - 0x1000) / 4;
}

test("a loop counts its instructions", () => {
  const { processor } = realGuest("mov cx, 10\n xor ax, ax\n again: inc ax\n loop again\n hlt");
  expect(processor.run(1000)).toBe("idle");
  expect(processor.registers.low(0)).toBe(10);
  expect(processor.executed).toBe(2 + 20 + 1);
});

test("a store to the page of the instruction that stores, behind NOPs, happens once", () => {
  const { processor } = realGuest("mov di, 0x7b80\n mov al, 0x90\n jmp next\n next: nop\n nop\n nop\n stosb\n hlt");
  expect(processor.run(1000)).toBe("idle");
  expect(processor.registers.low(7)).toBe(0x7b81);
  expect(processor.executed).toBe(3 + 3 + 1 + 1);
});

test("INT stores FLAGS, CS and IP, clears IF; IRET goes back", () => {
  const guest = realGuest("sti\n stc\n int 0x21\n hlt");
  expect(halted(guest)).toBe(0x21);
  const { registers } = guest.processor;
  expect(registers.low(4)).toBe(stack - 6);
  expect(guest.view.getUint16(stack - 6, true)).toBe(origin + 4);
  expect(guest.view.getUint16(stack - 4, true)).toBe(0);
  expect(guest.view.getUint16(stack - 2, true) & 0x201).toBe(0x201);
  expect(registers.systemFlags & 0x200).toBe(0);
  guest.ram.set([0xcf], 0x1000 + 0x21 * 4 + 1);
  guest.processor.activity = 0;
  expect(guest.processor.run(100)).toBe("idle");
  expect(registers.rip).toBe(BigInt(origin + 5));
  expect(registers.systemFlags & 0x200).toBe(0x200);
});

test("an access beyond the limit of 64 KiB is #GP, on the stack #SS", () => {
  expect(halted(realGuest("mov bx, 0xffff\n mov ax, [bx]"))).toBe(13);
  expect(halted(realGuest("mov ebx, 0x10000\n mov al, [ebx]"))).toBe(13);
  expect(halted(realGuest("mov bp, 0xffff\n mov ax, [bp]"))).toBe(12);
});

test("addresses wrap at 16 bits, linear ones reach above 1 MiB", () => {
  const guest = realGuest(
    "mov ax, 0xffff\n mov ds, ax\n mov bx, 0xfff0\n mov si, 0x30\n mov al, [bx + si]\n mov ah, [0x10]\n hlt",
  );
  guest.ram[0xffff0 + 0x20] = 0x12;
  guest.ram[0x10_0000] = 0x34;
  expect(guest.processor.run(100)).toBe("idle");
  expect(guest.processor.registers.low(0) & 0xffff).toBe(0x3412);
});

test("far calls, and a segment that keeps the limit of protected mode", () => {
  const table = 0x9000;
  const guest = realGuest(`
    cli
    lgdt [gdt]
    mov eax, cr0
    inc ax
    mov cr0, eax
    mov bx, 8
    mov es, bx
    dec ax
    mov cr0, eax
    xor bx, bx
    mov es, bx
    mov edi, 0x200000
    mov dword ptr es:[edi], 0x12345678
    call 0x100, 0x6d00
    hlt
    gdt: .word 15
    .long 0x${table.toString(16)}`);
  guest.view.setBigUint64(table + 8, 0x00cf_9200_0000_ffffn, true);
  guest.ram.set(assemble(16, 0x7d00, "mov cx, cs\n retf"), 0x7d00);
  expect(guest.processor.run(1000)).toBe("idle");
  expect(guest.view.getUint32(0x20_0000, true)).toBe(0x1234_5678);
  expect(guest.processor.registers.low(1) & 0xffff).toBe(0x100);
});
