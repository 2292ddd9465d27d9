# Time: interrupts of the PIT, the local APIC's timer in its three modes, the time-stamp counter, HLT. What is observed
# is how many interrupts came and in what order things happened, not how long they took.

.include "runtime64.inc"
.include "apic.inc"
.include "waiting64.inc"

.equ VECTOR, 0x50

main64:
    # The tables map the APIC's page as memory like any other; that is enough here.
    mov eax, APIC
    mov edx, [rax + 0x30]
    and edx, 0xff
    cmp edx, 0x10
    setae dl
    movzx edx, dl
    observe64 apic.version_plausible, rdx

    # The PIT through the PIC and LINT0 in virtual wire mode: five interrupts, each ends a HLT.
    mov dword ptr [rax + APIC_SPURIOUS], 0x1ff
    mov dword ptr [rax + APIC_LINT0], 0x700
    mov qword ptr [on_interrupt64], offset from_pit
    mov al, 0x34
    out 0x43, al
    mov eax, 11932              # 100 Hz
    out 0x40, al
    mov al, ah
    out 0x40, al
    mov al, 0xfe
    out 0x21, al
1:  sti
    hlt
    cli
    cmp dword ptr [count], 5
    jb 1b
    mov al, 0xff
    out 0x21, al
    mov rbx, [caught_vector64]
    observe64 pit.vector, rbx

    # One-shot.
    mov qword ptr [on_interrupt64], offset from_apic
    mov dword ptr [count], 0
    mov edi, APIC
    mov dword ptr [rdi + APIC_DIVIDE], 0x3
    mov dword ptr [rdi + APIC_TIMER], VECTOR
    mov dword ptr [rdi + APIC_INITIAL], 100000
    sti
2:  cmp dword ptr [count], 1
    jb 2b
    cli
    mov eax, [rdi + APIC_CURRENT]
    observe64 one_shot.current, rax
    mov ebx, [count]
    observe64 one_shot.count, rbx

    # Periodic: at least ten, then it stops when it is told to.
    mov dword ptr [count], 0
    mov dword ptr [rdi + APIC_TIMER], 0x20000 + VECTOR
    mov dword ptr [rdi + APIC_INITIAL], 50000
3:  sti
    hlt
    cli
    cmp dword ptr [count], 10
    jb 3b
    mov dword ptr [rdi + APIC_INITIAL], 0
    sti
    nop
    nop
    cli
    mov ebx, [count]
    mov dword ptr [count], 0
    call ten_milliseconds
    sti
    nop
    cli
    mov eax, [count]
    observe64 periodic.after_stop, rax

    # TSC deadline, if CPUID says so; the counter has then passed the deadline. A processor without it has nothing to observe
    # and says the same.
    mov r12d, 1
    xor r13d, r13d
    mov eax, 1
    cpuid
    bt ecx, 24
    jnc 6f
    mov edi, APIC
    mov dword ptr [count], 0
    mov dword ptr [rdi + APIC_TIMER], 0x40000 + VECTOR
    mfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    add rax, 3000000
    mov r14, rax
    mov rdx, rax
    shr rdx, 32
    mov ecx, 0x6e0
    wrmsr
    sti
5:  hlt
    cmp dword ptr [count], 1
    jb 5b
    cli
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, r14
    setae al
    movzx r12d, al
    mov ecx, 0x6e0
    rdmsr
    shl rdx, 32
    or rax, rdx
    mov r13, rax
6:  observe64 deadline.passed, r12
    observe64 deadline.cleared, r13

    # The counter never goes backwards.
    mov ecx, 1000
    xor ebx, ebx
    xor r8d, r8d
7:  rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, r8
    adc ebx, 0
    mov r8, rax
    dec ecx
    jnz 7b
    observe64 tsc.steps_back, rbx

    # A software interrupt while interrupts are off, and the shadow of STI.
    mov qword ptr [on_interrupt64], 0
    mov qword ptr [caught_count64], 0
    int 0x60
    mov rbx, [caught_count64]
    observe64 software_interrupts, rbx
    ret

from_pit:
    inc dword ptr [count]
    mov al, 0x20
    out 0x20, al
    ret
from_apic:
    inc dword ptr [count]
    mov edx, APIC
    mov dword ptr [rdx + APIC_EOI], 0
    ret

.data
.balign 4
count: .long 0
.text
