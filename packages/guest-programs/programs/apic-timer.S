# The local APIC's timer beyond its three modes (which `timers` has): masked, restarted, divided, switched between modes, raced
# with another timer. Intel SDM Vol. 3A §11.5.4. What is observed is order and counts, not how long anything took.
#
# Where something has to happen before the timer fires, it is looked whether it did: the host may have been busy elsewhere in
# between, and then it is done again.

.include "runtime64.inc"
.include "apic.inc"
.include "waiting64.inc"

.equ VECTOR, 0x50
.equ PERIODIC, 0x20000
.equ DEADLINE, 0x40000
.equ MASKED, 0x10000
.equ LONG, 0x7fffffff           # of which nothing ends while this runs

# RAX = time-stamp counter.
.macro timestamp
    rdtsc
    shl rdx, 32
    or rax, rdx
.endm
.macro write_deadline value
    mov rax, \value
    mov rdx, rax
    shr rdx, 32
    mov ecx, 0x6e0
    wrmsr
.endm

main64:
    mov edi, APIC
    mov dword ptr [rdi + APIC_SPURIOUS], 0x1ff
    mov dword ptr [rdi + APIC_LINT0], 0x10700
    mov qword ptr [on_interrupt64], offset fired
    mov dword ptr [rdi + APIC_TIMER], MASKED + VECTOR

    # The divider: every value reads back, of bits 0, 1 and 3.
    xor ebx, ebx
    xor ecx, ecx
1:  mov [rdi + APIC_DIVIDE], ecx
    mov eax, [rdi + APIC_DIVIDE]
    and eax, 0xb
    shl rbx, 4
    or rbx, rax
    inc ecx
    test ecx, 4
    jz 1b
    add ecx, 4
    cmp ecx, 8
    je 1b
    mov ecx, 0xb
    mov [rdi + APIC_DIVIDE], ecx
    observe64 dividers, rbx

    # The count goes down from its start and never up; a divided one is behind an undivided one.
    mov dword ptr [rdi + APIC_INITIAL], LONG
    mov eax, [rdi + APIC_INITIAL]
    observe64 initial, rax
    mov ebx, [rdi + APIC_CURRENT]
    mov ecx, 100
    xor ebp, ebp
2:  mov eax, [rdi + APIC_CURRENT]
    cmp ebx, eax
    adc ebp, 0
    mov ebx, eax
    dec ecx
    jnz 2b
    observe64 steps_up, rbp
    cmp ebx, LONG
    setb bl
    movzx ebx, bl
    observe64 counts, rbx

    # Masked, it counts to the end and asks for nothing; unmasked afterwards it still does not.
    mov dword ptr [count], 0
    mov dword ptr [rdi + APIC_DIVIDE], 0xb
    mov dword ptr [rdi + APIC_INITIAL], 1000
3:  mov eax, [rdi + APIC_CURRENT]
    test eax, eax
    jnz 3b
    call ten_milliseconds       # a timer of the host's may be late
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    call let_in
    mov eax, [count]
    observe64 masked.count, rax

    # Interrupts of a period that nobody takes are one.
    mov dword ptr [count], 0
    mov dword ptr [rdi + APIC_TIMER], PERIODIC + VECTOR
    mov dword ptr [rdi + APIC_INITIAL], 20000
7:  mov eax, [rdi + APIC_IRR + 0x20]
    test eax, 1 << (VECTOR & 31)
    jz 7b
    call ten_milliseconds
    mov dword ptr [rdi + APIC_INITIAL], 0
    call let_in
    mov eax, [count]
    observe64 merged.count, rax
    mov eax, [rdi + APIC_CURRENT]
    observe64 stopped.current, rax

    # A new count replaces the old one: the long one does not hold off the short one.
    mov dword ptr [count], 0
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    mov dword ptr [rdi + APIC_INITIAL], LONG
    mov dword ptr [rdi + APIC_INITIAL], 50000
    call wait_one
    mov eax, [count]
    observe64 restarted.count, rax

    # One-shot becomes periodic while it counts, and goes on.
4:  mov dword ptr [rdi + APIC_TIMER], VECTOR
    call let_in
    mov dword ptr [count], 0
    mov dword ptr [rdi + APIC_INITIAL], 1000000
    mov dword ptr [rdi + APIC_TIMER], PERIODIC + VECTOR
    mov eax, [rdi + APIC_CURRENT]
    test eax, eax
    jz 4b
    call wait_one
    call wait_one
    call wait_one
    mov dword ptr [rdi + APIC_INITIAL], 0
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    call let_in
    cmp dword ptr [count], 3
    setae al
    movzx eax, al
    observe64 became_periodic, rax

    # The vector is what the entry has when the timer fires.
5:  call let_in
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    mov dword ptr [rdi + APIC_INITIAL], 1000000
    mov dword ptr [rdi + APIC_TIMER], VECTOR + 1
    mov eax, [rdi + APIC_CURRENT]
    test eax, eax
    jz 5b
    call wait_one
    observe64 changed_vector, "qword ptr [caught_vector64]"

    # Against the PIT, both programmed anew at once: the shorter is first. The PIT's interrupt comes through LINT0.
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    mov dword ptr [rdi + APIC_LINT0], 0x700
    mov al, 0xfe
    out 0x21, al
    call let_in
    mov dword ptr [rdi + APIC_INITIAL], LONG
    mov ecx, 1193               # a millisecond
    call program_pit
    mov qword ptr [log], 0
    call wait_one
    mov r14, [log]
6:  mov dword ptr [rdi + APIC_INITIAL], 1000
    mov ecx, 0
    call program_pit            # 55 ms
    mov qword ptr [log], 0
    call wait_one
    mov al, 0xe2                # whether its output has risen
    out 0x43, al
    in al, 0x40
    mov r15d, eax
    call wait_one
    test r15b, 0x80
    jnz 6b
    mov rax, [log]
    shl r14, 16
    or rax, r14
    mov [log], rax
    mov dword ptr [rdi + APIC_INITIAL], 0
    mov al, 0xff
    out 0x21, al
    mov dword ptr [rdi + APIC_LINT0], 0x10700
    observe64 order, "qword ptr [log]"

    call deadline
    ret

# TSC-deadline mode, if CPUID says that there is one; a processor without it has nothing to observe and says the same.
deadline:
    mov qword ptr [armed], 1
    mov qword ptr [past], 1
    mov qword ptr [disarmed], 0
    mov qword ptr [ignored], 0
    mov qword ptr [lost], 0
    mov qword ptr [shot], 1
    mov eax, 1
    cpuid
    bt ecx, 24
    jnc 9f
    mov edi, APIC
    mov dword ptr [rdi + APIC_TIMER], DEADLINE + VECTOR
    mfence
    # The counts are ignored.
    mov dword ptr [rdi + APIC_INITIAL], 1000
    mov eax, [rdi + APIC_CURRENT]
    mov [ignored], rax
    # It reads back until it fires.
    timestamp
    mov rbx, 0x1000000000
    add rbx, rax
    write_deadline rbx
    mov ecx, 0x6e0
    rdmsr
    shl rdx, 32
    or rax, rdx
    cmp rax, rbx
    sete al
    movzx eax, al
    mov [armed], rax
    # Zero disarms it.
3:  call let_in
    mov dword ptr [count], 0
    timestamp
    add rax, 2000000
    mov rbx, rax
    write_deadline rbx
    write_deadline 0
    timestamp
    cmp rax, rbx
    jae 3b
1:  timestamp
    cmp rax, rbx
    jb 1b
    call let_in
    mov eax, [count]
    mov [disarmed], rax
    # A deadline in the past fires at once.
    mov dword ptr [count], 0
    timestamp
    sub rax, 1000
    mov rbx, rax
    write_deadline rbx
    call wait_one
    mov eax, [count]
    mov [past], rax
    # Leaving the mode loses the deadline.
4:  call let_in
    mov dword ptr [rdi + APIC_TIMER], DEADLINE + VECTOR
    mfence
    mov dword ptr [count], 0
    timestamp
    add rax, 2000000
    mov rbx, rax
    write_deadline rbx
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    timestamp
    cmp rax, rbx
    jae 4b
2:  timestamp
    cmp rax, rbx
    jb 2b
    call let_in
    mov eax, [count]
    mov [lost], rax
    mov dword ptr [rdi + APIC_INITIAL], 1000
    call wait_one
    mov eax, [count]
    mov [shot], rax
9:  observe64 deadline.count_ignored, "qword ptr [ignored]"
    observe64 deadline.reads_back, "qword ptr [armed]"
    observe64 deadline.disarmed, "qword ptr [disarmed]"
    observe64 deadline.past, "qword ptr [past]"
    observe64 deadline.lost, "qword ptr [lost]"
    observe64 one_shot_again, "qword ptr [shot]"
    ret

# PIT channel 0 counts ECX once and then interrupts.
program_pit:
    mov al, 0x30
    out 0x43, al
    mov al, cl
    out 0x40, al
    mov al, ch
    out 0x40, al
    ret

fired:
    inc dword ptr [count]
    mov rbx, [log]
    shl rbx, 8
    mov bl, [caught_vector64]
    mov [log], rbx
    cmp dword ptr [caught_vector64], 0x30
    jae 1f
    mov al, 0x20
    out 0x20, al
    ret
1:  mov edx, APIC
    mov dword ptr [rdx + APIC_EOI], 0
    ret

.data
.balign 8
log: .quad 0
count: .quad 0
armed: .quad 0
past: .quad 0
disarmed: .quad 0
ignored: .quad 0
lost: .quad 0
shot: .quad 0
.text
