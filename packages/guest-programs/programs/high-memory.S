# RAM on both sides of the hole below 4 GiB, with 3074 MiB of it: 3 GiB from 0 on and 2 MiB from 4 GiB on. The two do not
# alias, code executes from both, and between and behind them there is nothing.

.include "runtime64.inc"

.equ LOW_END, 0xc0000000
.equ HIGH, 0x100000000
.equ HIGH_END, 0x100200000

main64:
    # Three pages of the scratch window: the first of high RAM, its last, and what lies behind.
    mov rax, HIGH + 3
    mov [scratch_table], rax
    mov rax, HIGH_END - 0x1000 + 3
    mov [scratch_table + 8], rax
    mov rax, HIGH_END + 3
    mov [scratch_table + 16], rax
    mov rax, cr3
    mov cr3, rax
    mov edi, SCRATCH

    mov rax, 0x1111222233334444
    mov rbx, LOW_END - 8
    mov [rbx], rax
    not rax
    mov [rdi], rax
    mov rax, [rbx]
    observe64 low_end, rax
    mov rax, [rdi]
    observe64 high, rax
    # What would be the same byte if address lines were lost.
    mov eax, [0]
    observe64 first, rax

    lock add qword ptr [rdi + 0x1ff8], 5
    lock add qword ptr [rdi + 0x1ff8], 6
    mov rax, [rdi + 0x1ff8]
    observe64 high_end, rax

    mov dword ptr [rdi + 0x100], 0x000077b8         # mov eax, 0x77
    mov word ptr [rdi + 0x104], 0xc300              # ret
    lea rbx, [rdi + 0x100]
    call rbx
    observe64 high_code, rax

    mov ebx, LOW_END
    mov eax, [rbx]
    observe64 hole, rax
    mov eax, [rdi + 0x2000]
    observe64 behind, rax
    ret
