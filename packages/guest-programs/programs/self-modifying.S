# Code that changes: in the same block, in the next page, through another mapping, by string instructions, and of
# different lengths. An x86 processor sees each change at once.

.include "runtime64.inc"

main64:
    # The immediate of an instruction just ahead.
    mov dword ptr [rip + 1f + 1], 0x22222222
1:  mov eax, 0x11111111
    observe64 just_ahead, rax

    # A loop that changes its own body each time.
    xor ebx, ebx
    mov ecx, 100
2:  add ebx, 1
    .equ step, . - 1
    inc byte ptr [step]
    dec ecx
    jnz 2b
    observe64 loop_sum, rbx

    # A routine in another page, written, called, rewritten.
    mov edi, offset page + 0x100
    mov dword ptr [rdi], 0x000001b8         # mov eax, 1
    mov word ptr [rdi + 4], 0xc300          # ret
    call rdi
    mov ebx, eax
    mov byte ptr [rdi + 1], 2
    call rdi
    shl rbx, 32
    or rbx, rax
    observe64 rewritten, rbx

    # The same routine through a second mapping: written there, executed here.
    mov rax, offset page
    or rax, 3
    mov [scratch_table], rax
    call rdi
    mov byte ptr [SCRATCH + 0x101], 3
    call rdi
    observe64 through_alias, rax
    mov eax, SCRATCH + 0x100
    call rax
    observe64 executed_at_alias, rax

    # By REP MOVSB over code that was executed.
    mov esi, offset replacement
    mov edi, offset page + 0x100
    mov ecx, offset replacement_end - replacement
    rep movsb
    mov edi, offset page + 0x100
    call rdi
    observe64 by_string, rax

    # An instruction that spans two pages, its second half changed.
    mov edi, offset page + 0xffe
    mov word ptr [rdi], 0x44b8
    mov dword ptr [rdi + 2], 0xc3000000     # mov eax, 0x44; ret
    call rdi
    mov ebx, eax
    mov byte ptr [rdi + 2], 0x55
    call rdi
    shl rbx, 32
    or rbx, rax
    observe64 across_pages, rbx

    # NOPs that become something else, at the start of a piece of code and as all there is of it.
    mov edi, offset page + 0x400
    mov ecx, 200
    mov al, 0x90
    rep stosb
    mov byte ptr [rdi], 0xc3
    mov edi, offset page + 0x400
    xor ebx, ebx
    call rdi
    mov word ptr [rdi], 0xc3ff              # inc ebx, from FF C3
    call rdi
    mov word ptr [rdi + 100], 0xc3ff
    call rdi
    observe64 former_nops, rbx

    # Data beside code in one page: many stores that change no code.
    mov edi, offset page + 0x100
    xor ebx, ebx
    mov ecx, 1000
3:  mov [rdi + 0x200 + rcx], cl
    call rdi
    add rbx, rax
    dec ecx
    jnz 3b
    observe64 data_beside_code, rbx
    ret

replacement:
    mov eax, 0x77
    ret
replacement_end:

.section .bss
.balign 4096
page: .skip 8192
.text
