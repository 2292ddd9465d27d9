import { describe, expect, test } from "vitest";
import { modeWith } from "../../src/decode/mode.ts";
import { Workbench } from "../support/decoding.ts";

const workbench = new Workbench();
const long = modeWith({ code: 64 });
const flat32 = modeWith({ code: 32, stack32: true, protectedMode: true, flat: true });
const real = modeWith({ code: 16 });

/** Bytes of one instruction, and the operations that it becomes. */
type Case = readonly [bytes: string, text: string, operations: readonly string[]];

function check(mode: typeof long, cases: readonly Case[]): void {
  test.each(cases)("%s  %s", (bytes, _text, operations) => {
    expect(workbench.operations(mode, bytes)).toEqual(operations);
  });
}

describe("integers", () => {
  check(long, [
    ["48 01 d8", "add rax, rbx", ["add64 rax rbx"]],
    ["01 18", "add [rax], ebx", ["load-modify32-base t1 [rax + 0x0]", "add32 t1 rbx", "store-back32 t1"]],
    [
      "83 45 fc ff",
      "add dword [rbp-4], -1",
      ["load-modify32-base t1 [rbp + -0x4]", "add32 t1 # #=-0x1", "store-back32 t1"],
    ],
    ["3b 04 8b", "cmp eax, [rbx+rcx*4]", ["load32-full t1 [rbx + rcx*4 + 0x0]", "compare32 rax t1"]],
    ["39 03", "cmp [rbx], eax", ["load32-base t1 [rbx + 0x0]", "compare32 t1 rax"]],
    ["88 e5", "mov ch, ah", ["move8 rcx+1 rax+1"]],
    ["40 88 e5", "mov bpl, spl", ["move8 rbp rsp"]],
    ["8b 03", "mov eax, [rbx]", ["load32-base rax [rbx + 0x0]"]],
    ["66 89 43 02", "mov [rbx+2], ax", ["store16-base rax [rbx + 0x2]"]],
    ["c7 03 ff ff ff ff", "mov dword [rbx], -1", ["store32-base # [rbx + 0x0] #=-0x1"]],
    ["49 b8 01 02 03 04 05 06 07 88", "mov r8, imm64", ["move64 r8 # #=-0x77f8f9fafbfcfdff"]],
    ["48 8b 05 10 00 00 00", "mov rax, [rip+0x10]", ["load64-base rax [rip + 0x17]"]],
    ["48 a1 08 07 06 05 04 03 02 01", "mov rax, [imm64]", ["load64-base rax [# + 0x0] #=0x102030405060708"]],
    ["65 48 8b 04 25 28 00 00 00", "mov rax, gs:[0x28]", ["load64-full rax [gs.base + 0x28]"]],
    ["67 8b 43 04", "mov eax, [ebx+4]", ["load32-legacy rax [rbx + 0x4] (ds 32)"]],
    ["48 8d 54 8b 08", "lea rdx, [rbx+rcx*4+8]", ["lea64 rdx [rbx + rcx*4 + 0x8]"]],
    ["0f b6 03", "movzx eax, byte [rbx]", ["load8-base t1 [rbx + 0x0]", "zero-extend8-to32 rax t1"]],
    ["48 0f be c5", "movsx rax, bpl", ["sign-extend8-to64 rax rbp"]],
    ["48 63 c3", "movsxd rax, ebx", ["sign-extend32-to64 rax rbx"]],
    ["0f 44 c3", "cmove eax, ebx", ["move-if32 rax rbx if=4"]],
    ["0f 94 03", "sete [rbx]", ["set-if t1 if=4", "store8-base t1 [rbx + 0x0]"]],
    ["87 03", "xchg [rbx], eax", ["load-modify32-base t1 [rbx + 0x0]", "store-back32 rax", "move32 rax t1"]],
    [
      "f0 0f b1 0b",
      "lock cmpxchg [rbx], ecx",
      ["load-modify32-base t1 [rbx + 0x0]", "compare-exchange32 t1 rcx", "store-back32 t1"],
    ],
    [
      "f0 48 0f c1 03",
      "lock xadd [rbx], rax",
      ["load-modify64-base t1 [rbx + 0x0]", "exchange-add64 t1 rax", "store-back64 t1"],
    ],
    ["0f c7 0b", "cmpxchg8b [rbx]", ["address-base [rbx + 0x0] #=0x100000008", "helper compare-exchange8b size=8"]],
    [
      "c1 23 04",
      "shl dword [rbx], 4",
      ["load-modify32-base t1 [rbx + 0x0]", "shift-left32 t1 # #=0x4", "store-back32 t1"],
    ],
    ["d3 e8", "shr eax, cl", ["shift-right32 rax rcx"]],
    ["0f a5 d8", "shld eax, ebx, cl", ["shift-double-left32 rax rbx by rcx"]],
    ["0f ac d8 07", "shrd eax, ebx, 7", ["shift-double-right32 rax rbx by # #=0x7"]],
    ["f7 e3", "mul ebx", ["multiply-wide32 rbx"]],
    ["48 f7 3b", "idiv qword [rbx]", ["load64-base t1 [rbx + 0x0]", "divide-signed64 t1"]],
    ["6b c3 9c", "imul eax, ebx, -100", ["multiply-signed-immediate32 rax rbx #=-0x64"]],
    [
      "0f ba 2b 23",
      "bts dword [rbx], 35",
      ["load-modify32-base t1 [rbx + 0x0]", "bit-test-set32 t1 # #=0x3", "store-back32 t1"],
    ],
    ["48 0f a3 0b", "bt [rbx], rcx", ["bit-offset64 t2 rcx", "load64-full t1 [rbx + t2*1 + 0x0]", "bit-test64 t1 rcx"]],
    [
      "f0 48 0f ab 4c d3 10",
      "lock bts [rbx+rdx*8+0x10], rcx",
      [
        "bit-offset64 t2 rcx",
        "lea64 t2 [t2 + rdx*8 + 0x0]",
        "load-modify64-full t1 [rbx + t2*1 + 0x10]",
        "bit-test-set64 t1 rcx",
        "store-back64 t1",
      ],
    ],
    ["f3 0f b8 c3", "popcnt eax, ebx", ["population-count32 rax rbx"]],
    ["f3 0f bc c3", "tzcnt as bsf", ["bit-scan-forward32 rax rbx"]],
    ["66 0f cb", "bswap bx", ["move16 rbx zero"]],
    ["d7", "xlatb", ["zero-extend8-to32 t1 rax", "load8-full rax [rbx + t1*1 + 0x0]"]],
    ["f2 66 0f 38 f1 c3", "crc32 eax, bx", ["helper crc32 size=2 d=rax s=rbx"]],
  ]);
});

describe("stack and control transfers in 64-bit mode", () => {
  check(long, [
    ["41 57", "push r15", ["push64 r15"]],
    ["6a ff", "push -1", ["push64 # #=-0x1"]],
    ["ff 73 08", "push [rbx+8]", ["load64-base t1 [rbx + 0x8]", "push64 t1"]],
    ["66 50", "push ax", ["helper push size=2 s=rax"]],
    ["5c", "pop rsp", ["pop64 rsp"]],
    // The address is computed with the raised RSP.
    [
      "8f 44 24 08",
      "pop [rsp+8]",
      ["load64-base t1 [rsp + 0x0]", "store64-base t1 [rsp + 0x10]", "lea64 rsp [rsp + 0x8]"],
    ],
    ["c9", "leave", ["load64-base t1 [rbp + 0x0]", "lea64 rsp [rbp + 0x8]", "move64 rbp t1"]],
    ["e8 fb 0f 00 00", "call to the next page", ["call64 -> 0x1000 #=0x5"]],
    ["eb fe", "jmp to itself", ["jump -> 0x0 linkable #=0x2"]],
    ["75 10", "jne", ["jump-if-5 -> 0x12 linkable linkable-not-taken #=0x2"]],
    ["0f 84 00 00 00 80", "je far behind", ["jump-if-4 -> -0x7ffffffa linkable-not-taken #=0x6"]],
    ["e9 ff ff ff 7f", "jmp beyond a field of 32 bits", ["helper jump-near size=8 #=0x80000004"]],
    ["66 e9 00 00", "jmp with 66 cuts RIP (AMD)", ["helper jump-near size=2 #=0x4"]],
    ["e2 fe", "loop", ["loop64 always -> 0x0 linkable linkable-not-taken #=0x2"]],
    ["67 e3 00", "jecxz", ["helper loop size=8 d=0x4 s=0x3 #=0x3"]],
    ["ff e0", "jmp rax", ["jump-indirect64 rax -> 0x0"]],
    ["ff d4", "call rsp", ["move64 t1 rsp", "call-indirect64 t1 -> 0x0 #=0x2"]],
    ["c2 10 00", "ret 16", ["return64 -> 0x0 #=0x10"]],
    ["48 cf", "iretq", ["helper interrupt-return size=8"]],
    ["cd 80", "int 0x80", ["helper software-interrupt size=4 #=0x80"]],
  ]);
  test("a distance beyond 32 bits to a RIP-relative operand goes by a temporary", () => {
    expect(workbench.operations(long, "8b 05 ff ff ff 7f")).toEqual([
      "lea64 t7 [rip + 0x6]",
      "load32-base rax [t7 + 0x7fffffff]",
    ]);
  });
});

describe("system instructions", () => {
  check(long, [
    ["0f 22 d8", "mov cr3, rax", ["helper write-control-register size=8 d=0x3 s=rax"]],
    ["44 0f 20 c0", "mov rax, cr8", ["helper read-control-register size=8 d=rax s=0x8"]],
    ["0f 01 3b", "invlpg [rbx]", ["address-base [rbx + 0x0] #=0x1", "helper invalidate-page size=8"]],
    ["0f 01 f8", "swapgs", ["helper swap-gs size=4"]],
    ["f3 48 ab", "rep stosq", ["helper string-store size=8 d=0x8 s=0x1 index=0x3"]],
    ["65 a4", "movsb from gs", ["helper string-move size=1 d=0x8 index=0x5"]],
    ["8e d8", "mov ds, eax", ["helper load-segment size=4 d=0x3 s=rax"]],
    ["8c 1b", "mov [rbx], ds", ["address-base [rbx + 0x0] #=0x100000002", "helper store-segment size=2 s=0x3"]],
    ["ec", "in al, dx", ["helper port-in size=1 s=rdx"]],
    ["e7 80", "out 0x80, eax", ["helper port-out size=4 #=0x80"]],
    ["0f ae 3b", "clflush [rbx]", ["load8-base t1 [rbx + 0x0]"]],
    ["0f 0b", "ud2", ["helper raise size=4 #=0x6"]],
    ["f0 01 c0", "lock add eax, eax", ["helper raise size=4 #=0x6"]],
    ["f0 39 03", "lock cmp [rbx], eax", ["helper raise size=4 #=0x6"]],
    ["0f 34", "sysenter in 64-bit mode", ["helper raise size=4 #=0x6"]],
  ]);
  test("15 bytes are an instruction, 16 are #GP", () => {
    const prefixes = "66 ".repeat(14);
    expect(workbench.decode(long, Uint8Array.from(Buffer.from(`${"66".repeat(14)}90`, "hex")), 1).length).toBe(15);
    expect(workbench.lines(long, `${prefixes} 66 90`)).toEqual(["helper raise size=2 #=0xd"]);
  });
  test("a REX prefix before another prefix is ignored", () => {
    expect(workbench.operations(long, "48 66 01 d8")).toEqual(["add16 rax rbx"]);
  });
});

describe("vectors and x87", () => {
  check(long, [
    ["0f 28 c1", "movaps xmm0, xmm1", ["vector movaps xmm0 xmm1"]],
    ["0f 28 03", "movaps xmm0, [rbx]", ["load-aligned128-base xmm0 [rbx + 0x0]"]],
    ["f3 44 0f 7f 4b 10", "movdqu [rbx+16], xmm9", ["store128-base xmm9 [rbx + 0x10]"]],
    ["f2 0f 10 03", "movsd xmm0, [rbx]", ["load64-base xmm0 [rbx + 0x0]", "move64 xmm0+8 zero"]],
    ["f2 0f 10 c1", "movsd xmm0, xmm1", ["move64 xmm0 xmm1"]],
    ["f3 0f 10 c1", "movss xmm0, xmm1", ["vector movss xmm0 xmm1"]],
    ["0f 12 c1", "movhlps xmm0, xmm1", ["move64 xmm0 xmm1+8"]],
    ["0f 16 c1", "movlhps xmm0, xmm1", ["move64 xmm0+8 xmm1"]],
    ["0f 17 03", "movhps [rbx], xmm0", ["store64-base xmm0+8 [rbx + 0x0]"]],
    ["66 48 0f 6e c3", "movq xmm0, rbx", ["move64 xmm0 rbx", "move64 xmm0+8 zero"]],
    ["66 0f 7e c3", "movd ebx, xmm0", ["move32 rbx xmm0"]],
    ["66 0f fe 03", "paddd xmm0, [rbx]", ["load-aligned128-base v0 [rbx + 0x0]", "vector paddd xmm0 v0"]],
    ["f2 0f 58 03", "addsd xmm0, [rbx]", ["load64-base v0 [rbx + 0x0]", "vector addsd xmm0 v0"]],
    ["f2 48 0f 2c c1", "cvttsd2si rax, xmm1", ["vector cvttsd2si64 rax xmm1"]],
    ["f2 0f 2a 03", "cvtsi2sd xmm0, dword [rbx]", ["load32-base t1 [rbx + 0x0]", "vector cvtsi2sd xmm0 t1"]],
    ["66 0f d7 c1", "pmovmskb eax, xmm1", ["vector pmovmskb rax xmm1"]],
    ["66 0f 73 f8 04", "pslldq xmm0, 4", ["vector pslldq xmm0 #=0x4"]],
    ["66 0f 3a 16 0b 02", "pextrd [rbx], xmm1, 2", ["vector pextrd t1 xmm1 #=0x2", "store32-base t1 [rbx + 0x0]"]],
    ["66 0f 3a 21 03 d0", "insertps xmm0, [rbx]", ["load32-base v0 [rbx + 0x0]", "vector insertps xmm0 v0 #=0x10"]],
    [
      "66 0f 3a 63 03 1a",
      "pcmpistri xmm0, [rbx]",
      ["load128-base v0 [rbx + 0x0]", "helper vector-rare pcmpistri size=4 d=xmm0 s=v0 base=0x1a"],
    ],
    ["0f fc c1", "paddb mm0, mm1", ["helper mmx size=4 d=0xc1 s=0xfc"]],
    ["d9 03", "fld dword [rbx]", ["address-base [rbx + 0x0] #=0x4", "helper x87-memory size=4 #=0xd903"]],
    ["de c1", "faddp", ["helper x87-register size=4 #=0xdec1"]],
  ]);
  test("SSE is refused where the operating system did not allow it, but not MOVNTI", () => {
    const without = modeWith({ code: 64, vectors: "ud" });
    expect(workbench.operations(without, "0f 58 c1")).toEqual(["helper raise size=4 #=0x6"]);
    expect(workbench.operations(modeWith({ code: 64, vectors: "nm" }), "0f 58 c1")).toEqual([
      "helper raise size=4 #=0x7",
    ]);
    expect(workbench.operations(without, "0f c3 03")).toEqual(["store32-base rax [rbx + 0x0]"]);
  });
});

describe("outside 64-bit mode", () => {
  check(flat32, [
    ["8b 04 85 00 00 00 c0", "mov eax, [eax*4+0xc0000000]", ["load32-legacy rax [rax*4 + -0x40000000] (ds 32 wrap)"]],
    ["64 a1 10 00 00 00", "mov eax, fs:[0x10]", ["load32-legacy rax [fs.base + 0x10] (fs 32 wrap check)"]],
    ["50", "push eax", ["push32 rax"]],
    ["40", "inc eax", ["increment32 rax"]],
    ["ea 00 10 00 00 08 00", "jmp 8:0x1000", ["helper jump-far size=4 #=0x800001000"]],
    [
      "c5 08",
      "lds ecx, [eax]",
      ["address-legacy [rax + 0x0] (ds 32 wrap) #=0x6", "helper load-far-pointer size=4 d=rcx s=0x3"],
    ],
    ["c5 c8", "VEX", ["helper raise size=4 #=0x6"]],
    ["63 c8", "arpl ax, cx", ["helper adjust-privilege-level size=2 d=rax s=rcx"]],
  ]);
  check(real, [
    ["8b 42 10", "mov ax, [bp+si+16]", ["load16-legacy rax [ss.base + rbp + rsi*1 + 0x10] (ss 16 wrap check)"]],
    ["66 b8 00 00 00 80", "mov eax, 0x80000000", ["move32 rax # #=-0x80000000"]],
    ["0f 00 d0", "lldt in real mode", ["helper raise size=2 #=0x6"]],
    ["e8 00 10", "call", ["helper call-near size=2 #=0x1003"]],
  ]);
  test("jumps wrap around at the end of the code segment", () => {
    // From 0xfff0 forwards: to 0x0012, that is 0xffde back.
    expect(workbench.operations(real, "eb 20", 0xfff0)).toEqual(["jump -> -0xffde #=0x2"]);
    expect(workbench.operations(flat32, "eb 20", 0xffff_fff0)).toEqual(["helper jump-near size=4 #=-0xffffffde"]);
  });
});

describe("blocks", () => {
  test("end at a control transfer, and NOPs cost nothing", () => {
    // endbr64; nop; push rbp; mov rbp, rsp; nop; ret; nop
    expect(workbench.lines(long, "f3 0f 1e fa 90 55 48 89 e5 90 c3 90")).toEqual([
      "(2 skipped) push64 rbp",
      "move64 rbp rsp",
      "(1 skipped) return64 -> 0x0",
    ]);
  });
  test("a NOP behind a store keeps its place", () => {
    expect(workbench.lines(long, "89 03 90 c3")).toEqual([
      "store32-base rax [rbx + 0x0]",
      "no-operation",
      "return64 -> 0x0",
    ]);
  });
  test("end before an instruction that the code does not hold whole", () => {
    expect(workbench.lines(long, "ff c0 48 b8 00 00", 0x1ffa)).toEqual(["increment32 rax", "end -> 0x2 linkable"]);
    expect(workbench.lines(long, "48 b8 00 00")).toEqual(["(incomplete)"]);
  });
  test("are not linked behind helpers that change what follows", () => {
    expect(workbench.lines(long, "0f 22 c0 90")).toEqual(["helper write-control-register size=8 s=rax", "end -> 0x3"]);
  });
  test("have at most 64 instructions", () => {
    const { instructions, length } = workbench.decode(long, new Uint8Array(400).fill(0xf8));
    expect({ instructions, length }).toEqual({ instructions: 64, length: 64 });
  });
});
