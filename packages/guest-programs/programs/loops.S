# Four loops for measuring an execution engine, in 32-bit protected mode. Around each, `NAME begin` and `NAME end COUNT` are
# printed, where COUNT is the number of instructions in units of a million; whoever measures takes the time between the lines.
#
# alu: 8 register instructions. memory: load, add, store, xor over 32 KiB. calls: fib(N), recursive. mixed: multiply,
# table load, a branch that cannot be foreseen.
#
# A Multiboot header lets other machines than QEMU's load it too.

.include "runtime32.inc"

.section .note.Xen, "a"
.balign 4
multiboot:
    .long 0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
    .long multiboot, 0x100000, load_end, bss_end, start

.text
.equ ALU_ROUNDS, 10000000       # 10 instructions each: 100 million
.equ MEMORY_ROUNDS, 2500        # 8192 * 6 instructions each: 123 million
.equ CALL_DEPTH, 33             # 5702886 calls of 11 instructions and as many of 3: 80 million
.equ MIXED_ROUNDS, 10000000     # 10 instructions each, or 9: 95 million

.macro report name, count
    .pushsection .rodata
begin_\name: .asciz "\name begin\n"
end_\name: .asciz "\name end \count\n"
    .popsection
    mov esi, offset begin_\name
    call put_string
    call \name
    mov esi, offset end_\name
    call put_string
.endm

main:
    report alu, 100
    report memory, 123
    report calls, 80
    report mixed, 95
    ret

.balign 16
alu:
    mov ecx, ALU_ROUNDS
    mov eax, 1
    mov ebx, 2
    mov edx, 3
1:  add eax, ebx
    xor edx, eax
    lea ebx, [ebx + edx]
    sub eax, edx
    and ebx, 0x7fffffff
    or edx, 1
    add eax, ecx
    xor ebx, eax
    dec ecx
    jnz 1b
    ret

.balign 16
memory:
    mov ebp, MEMORY_ROUNDS
1:  xor ecx, ecx
2:  mov eax, [table + ecx * 4]
    add eax, ebp
    mov [table + ecx * 4], eax
    inc ecx
    cmp ecx, 8192
    jb 2b
    dec ebp
    jnz 1b
    ret

.balign 16
calls:
    mov eax, CALL_DEPTH
fib:
    cmp eax, 2
    jb 1f
    push eax
    dec eax
    call fib
    xchg eax, [esp]
    sub eax, 2
    call fib
    pop edx
    add eax, edx
1:  ret

.balign 16
mixed:
    mov ecx, MIXED_ROUNDS
    mov eax, 12345
    xor ebx, ebx
1:  imul eax, eax, 1103515245
    add eax, 12345
    mov edx, eax
    shr edx, 20
    add ebx, [table + edx * 4]
    test eax, 0x10000
    jz 2f
    inc ebx
2:  dec ecx
    jnz 1b
    ret

.bss
.balign 4096
table: .skip 32768
bss_end:
.data
load_end:
