# 64-bit mode: what differs from 32 bits, exceptions with IST, canonical addresses, system calls, ring 3 and
# compatibility mode, SWAPGS, page faults with all error bits.

.include "runtime64.inc"

main64:
    # 32-bit results clear the upper half; 8- and 16-bit ones keep it.
    mov rax, -1
    mov eax, 1
    observe64 upper_cleared, rax
    mov rax, -1
    mov ax, 1
    observe64 upper_kept16, rax
    mov rax, -1
    mov al, 1
    observe64 upper_kept8, rax
    mov rax, -1
    mov ecx, 0
    test ecx, ecx
    cmovnz eax, ecx
    observe64 cmov_clears, rax
    mov r8, 0x123456789abcdef0
    bswap r8
    observe64 bswap, r8
    movsxd rax, dword ptr [rip + minus_two]
    observe64 rip_relative, rax
    mov rax, 0x8000000000000000
    mov rcx, 3
    mul rcx
    observe64 mul.high, rdx
    observe64 mul.low, rax
    mov rdx, 2
    mov rax, 5
    mov rcx, 7
    div rcx
    observe64 div128.quotient, rax
    observe64 div128.remainder, rdx
    mov rdx, -1
    mov rax, -100
    mov rcx, 7
    idiv rcx
    observe64 idiv.quotient, rax
    observe64 idiv.remainder, rdx
    attempt64
    mov rdx, 7
    xor eax, eax
    mov ecx, 7
    div rcx
    attempted64 divide_overflow

    # CMPXCHG16B. What does not have it (CPUID) is given its results.
    mov eax, 1
    cpuid
    mov r12d, 1
    mov eax, 3
    mov edx, 4
    bt ecx, 13
    jnc 1f
    mov rax, 1
    mov rdx, 2
    mov rbx, 3
    mov rcx, 4
    lock cmpxchg16b [wide]
    setz al
    movzx r12d, al
    mov rax, 1
    lock cmpxchg16b [wide]
1:  observe64 cmpxchg16b.equal, r12
    observe64 cmpxchg16b.low, rax
    observe64 cmpxchg16b.high, rdx

    # Addresses that are not canonical.
    attempt64
    mov rax, 0x0000800000000000
    mov al, [rax]
    attempted64 not_canonical
    mov byte ptr [idt64 + 12 * 16 + 4], 1       # on a stack that can be used
    mov byte ptr [idt64 + 13 * 16 + 4], 1
    mov r15, rsp
    attempt64
    mov rsp, 0x0000900000000000
    push rax
999:
    mov rsp, r15
    mov rax, [caught_vector64]
    observe64 not_canonical_stack, rax
    mov rax, [caught_error64]
    observe64 not_canonical_stack.error, rax
    mov byte ptr [idt64 + 12 * 16 + 4], 0
    mov byte ptr [idt64 + 13 * 16 + 4], 0
    attempt64
    mov rax, 0x0000800000000000
    jmp rax
    attempted64 not_canonical_jump

    # Instructions that 64-bit mode does not have.
    attempt64
    .byte 0x37
    attempted64 aaa

    # IST: the stack of #UD's handler is the one of the TSS.
    mov byte ptr [idt64 + 6 * 16 + 4], 1
    attempt64
    ud2
    attempted64 with_ist
    mov rax, offset ist_top
    sub rax, [caught_frame_top]
    observe64 ist.offset, rax
    mov byte ptr [idt64 + 6 * 16 + 4], 0

    # Page faults: write, user, reserved, fetch bits.
    mov qword ptr [scratch_table], 0x800000 + 3
    mov qword ptr [SCRATCH], 7
    mov rax, [scratch_table]
    observe64 page.after_write, rax
    attempt64
    mov rax, [SCRATCH + 0x1000]
    attempted64 page.missing
    mov rax, [caught_cr2_64]
    observe64 page.missing.cr2, rax
    mov rax, 0x8000000000802003
    mov [scratch_table + 16], rax
    mov byte ptr [SCRATCH + 0x2000], 0xc3
    attempt64
    mov eax, SCRATCH + 0x2000
    jmp rax
    attempted64 page.no_execute

    # The upper half of the address space, through another entry of the top level.
    mov rax, [level4]
    mov [level4 + 511 * 8], rax
    mov rax, 0xffffff8000000000
    mov rcx, [rax + SCRATCH]
    observe64 upper_half, rcx

    call system_call
    call segment_bases
    call compatibility
    ret

system_call:
    mov ecx, 0xc0000081         # STAR: SYSCALL CS = 0x18 (SS 0x20 is not loaded from the table), SYSRET base 0x2b + 16
    xor eax, eax
    mov edx, 0x00330018
    wrmsr
    mov ecx, 0xc0000082         # LSTAR
    mov eax, offset system_entry
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084         # FMASK: IF, DF
    mov eax, 0x600
    wrmsr
    mov byte ptr [idt64 + 0x80 * 16 + 5], 0xee
    mov qword ptr [on_interrupt64], offset from_ring3
    mov [kernel_rsp], rsp
    mov rcx, offset user64
    mov r11d, 0x802
    mov rsp, offset user_top
    sysretq
user64:
    mov rbx, 0
    mov bx, cs
    mov r12, 0
    mov r12w, ss
    std
    mov eax, 42
    syscall
system_entry:
    mov r13, r11
    mov rsp, [kernel_rsp]
    pushfq
    pop r14
    mov r15, 0
    mov r15w, cs
    cld
    push 2
    popfq
    mov edx, DATA32
    mov ss, edx
    observe64 syscall.number, rax
    observe64 syscall.user_cs, rbx
    observe64 syscall.user_ss, r12
    observe64 syscall.r11, r13
    observe64 syscall.flags, r14
    observe64 syscall.cs, r15
    mov rax, rcx
    sub rax, offset user64
    observe64 syscall.return_offset, rax
    # Ring 3 may not write a supervisor page: the error code has the U bit.
    mov qword ptr [scratch_table], 0x800000 + 3
    invlpg [SCRATCH]
    mov qword ptr [recover64], offset 1f
    push USER_DATA
    push offset user_top
    push 2
    push USER_CODE64
    push offset 2f
    iretq
2:  mov byte ptr [SCRATCH], 1
1:  # The handler returned here, still in ring 3: a privileged instruction faults.
    mov r12, [caught_vector64]
    mov r13, [caught_error64]
    mov qword ptr [recover64], offset 3f
    hlt
3:  mov r14, [caught_vector64]
    mov eax, 43
    mov rdx, offset 4f
    mov qword ptr [system_continue], rdx
    int 0x80
4:  observe64 user_fault.vector, r12
    observe64 user_fault.error, r13
    observe64 user_halt.vector, r14
    ret

from_ring3:
    mov rsp, [kernel_rsp]
    mov edx, DATA32
    mov ss, edx
    jmp [system_continue]

segment_bases:
    mov ecx, 0xc0000101         # GS base
    mov eax, offset gs_one
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000102         # kernel GS base
    mov eax, offset gs_two
    wrmsr
    mov rax, gs:[0]
    observe64 gs.before, rax
    swapgs
    mov rax, gs:[0]
    observe64 gs.swapped, rax
    swapgs
    mov ecx, 0xc0000100         # FS base, above 4 GiB is possible
    mov eax, 0x40000000
    mov edx, 0xffffff80
    wrmsr
    mov rax, fs:[0]
    observe64 fs.high_base, rax
    attempt64
    mov ecx, 0xc0000100
    mov edx, 0x00008000
    xor eax, eax
    wrmsr
    attempted64 fs.not_canonical
    ret

compatibility:
    # A far return into 32-bit code, which comes back by a far jump.
    push CODE32
    mov rax, offset 1f
    push rax
    lretq
.code32
1:  mov eax, 0xffffffff
    inc eax                     # one byte here, a prefix in 64-bit mode
    mov ebx, eax
    mov ecx, 5
    dec ecx
    ljmp CODE64, offset 2f
.code64
2:  observe64 compatibility.ebx, rbx
    observe64 compatibility.ecx, rcx
    ret

.data
.balign 16
wide: .quad 1, 2
minus_two: .long -2
gs_one: .quad 0x1111
gs_two: .quad 0x2222
kernel_rsp: .quad 0
system_continue: .quad 0
.bss
.balign 16
    .skip 4096
user_top:
