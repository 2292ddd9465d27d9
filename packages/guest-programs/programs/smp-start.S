# Several processors: found through ACPI, started by INIT and start-up interrupts, each through real and protected mode to long
# mode. Then they count under LOCK and under a spin lock, answer interprocessor interrupts, forget a translation, execute what
# another processor has changed, pass messages through memory, take an NMI, and one of them is started anew.
# Intel SDM Vol. 3A §8.1.3, §8.2, §9.4, §11.6; ACPI §5.2.12. It wants 2 to 16 processors whose APICs have the identities from 0 on.
#
# Processors that have nothing to do halt. `call on_others` gives them a routine, and `call finished` waits for them.

.include "runtime64.inc"
.include "apic.inc"
.include "waiting64.inc"

.equ TRAMPOLINE, 0x8000         # where a start-up interrupt with vector 8 begins
.equ CAPACITY, 16
.equ STACK_SIZE, 4096
.equ WORK, 0x60                 # vectors
.equ ANSWER, 0x61
.equ SHOOTDOWN, 0x62
.equ MARK, 0x63
.equ ANSWERED, 0x70             # and on: plus the identity of who answers
.equ LOCKED_ROUNDS, 5000
.equ SPIN_ROUNDS, 200
.equ MESSAGES, 200
.equ FRAME, 0x00800000
.equ LOGICAL, 0x0c              # logical identities 2 and 3

# EAX = identity of this processor's local APIC.
.macro identity
    mov eax, APIC
    mov eax, [rax + APIC_ID]
    shr eax, 24
.endm
# Waits until a 32-bit variable has a value.
.macro until variable, value
995:
    pause
    cmp dword ptr [\variable], \value
    jne 995b
.endm
# The same for the number of processors besides this one, or of another set. Changes EAX.
.macro until_each variable, count=others
    mov eax, [\count]
    until \variable, eax
.endm
# EBX = an identity, or the last one if there are not so many processors. Changes EAX.
.macro last_up_to highest
    mov ebx, \highest
    bsr eax, [listed]
    cmp eax, ebx
    cmovb ebx, eax
.endm

main64:
    mov r13d, APIC
    mov dword ptr [r13 + APIC_SPURIOUS], 0x1ff
    identity
    mov [boot_identity], eax
    bts dword ptr [present], eax
    call find_processors
    observe64 processors, "qword ptr [processors]"
    mov ecx, 0x1b
    rdmsr
    and eax, 0x900
    observe64 boot_processor, rax
    set_gate64 2, on_nmi
    set_gate64 WORK, on_work
    set_gate64 ANSWER, on_answer
    set_gate64 SHOOTDOWN, on_shootdown
    set_gate64 MARK, on_mark
    mov qword ptr [on_interrupt64], offset on_answered
    mov esi, offset trampoline
    mov edi, TRAMPOLINE
    mov ecx, offset trampoline_end - trampoline
    rep movsb

    # One after the other.
    xor ebx, ebx
1:  bt dword ptr [listed], ebx
    jnc 2f
    cmp ebx, [boot_identity]
    je 2f
    call start_processor
2:  inc ebx
    cmp ebx, CAPACITY
    jb 1b
    mov eax, [online]
    mov [others], eax
    inc eax
    mov [everybody], eax
    mov eax, [others]
    observe64 online, rax
    mov eax, [present]
    bt eax, 2
    adc dword ptr [in_logical], 0
    bt eax, 3
    adc dword ptr [in_logical], 0
    observe64 present, rax
    mov rax, [started_segments]
    observe64 started.segments, rax
    mov eax, [started_modes]
    observe64 started.modes, rax
    mov eax, [other_boot_flags]
    observe64 started.boot_flags, rax

    call counting
    call interrupts
    call shootdown
    call modified_code
    call messages
    call restart
    ret

# Everybody at once, this processor too.
counting:
    mov eax, offset count_locked
    call on_others
    call count_locked
    call finished
    mov eax, [locked_inc]
    observe64 locked.inc, rax
    observe64 locked.xadd, "qword ptr [locked_xadd]"
    observe64 locked.cmpxchg, "qword ptr [locked_cmpxchg]"
    mov eax, [locked_bits]
    observe64 locked.bits, rax
    mov eax, offset count_under_lock
    call on_others
    call count_under_lock
    call finished
    observe64 spin_lock, "qword ptr [guarded]"
    observe64 spin_lock.second, "qword ptr [guarded + 64]"
    ret

count_locked:
    mov ecx, LOCKED_ROUNDS
1:  lock inc dword ptr [locked_inc]
    dec ecx
    jnz 1b
    mov ecx, LOCKED_ROUNDS
2:  mov eax, 3
    lock xadd [locked_xadd], rax
    dec ecx
    jnz 2b
    mov ecx, SPIN_ROUNDS
3:  mov rax, [locked_cmpxchg]
4:  lea rdx, [rax + 5]
    lock cmpxchg [locked_cmpxchg], rdx
    jnz 4b
    dec ecx
    jnz 3b
    identity
    lock bts [locked_bits], eax
    ret

# Two words in two cache lines that must always agree.
count_under_lock:
    mov ecx, SPIN_ROUNDS
1:  mov eax, 1
    xchg [spin_lock], eax
    test eax, eax
    jz 2f
    pause
    jmp 1b
2:  mov rax, [guarded]
    cmp rax, [guarded + 64]
    je 3f
    add rax, 0x1000000          # which shows in the sum
3:  inc rax
    mov [guarded], rax
    mov [guarded + 64], rax
    mov dword ptr [spin_lock], 0
    dec ecx
    jnz 1b
    ret

interrupts:
    # To all others; each answers with a vector of its own.
    mov dword ptr [r13 + APIC_ICR], 0xc4000 + ANSWER
1:  call let_in
    mov eax, [others]
    cmp [answers], eax
    jne 1b
    mov eax, [answer_bits]
    observe64 answers, rax
    # To all, itself included.
    mov dword ptr [r13 + APIC_ICR], 0x84000 + MARK
2:  call let_in
    mov eax, [everybody]
    cmp [marks], eax
    jne 2b
    mov eax, [mark_bits]
    observe64 to_all, rax
    # To some, by their logical identities; to one, by its physical one.
    mov dword ptr [marks], 0
    mov dword ptr [mark_bits], 0
    mov dword ptr [r13 + APIC_ICR_HIGH], LOGICAL << 24
    mov dword ptr [r13 + APIC_ICR], 0x4800 + MARK
    until_each marks, in_logical
    mov eax, offset nothing
    call on_others              # who had one more would have taken it
    call finished
    mov eax, [mark_bits]
    observe64 to_logical, rax
    mov dword ptr [marks], 0
    mov dword ptr [mark_bits], 0
    last_up_to 2
    shl ebx, 24
    mov [r13 + APIC_ICR_HIGH], ebx
    mov dword ptr [r13 + APIC_ICR], 0x4000 + MARK
    until marks, 1
    mov eax, offset nothing
    call on_others
    call finished
    mov eax, [mark_bits]
    observe64 to_physical, rax
    # NMI to all others, which halt.
    mov dword ptr [r13 + APIC_ICR], 0xc4400
    until_each nmis
    mov eax, [nmis]
    observe64 nmi, rax
    ret
nothing:
    ret

# A page is mapped elsewhere: a processor that was told forgets where it was.
shootdown:
    mov dword ptr [FRAME], 0x100
    mov dword ptr [FRAME + 0x1000], 0x20000
    mov qword ptr [scratch_table], FRAME + 3
    mov eax, offset read_page
    call on_others
    call read_page
    call finished
    mov eax, [page_sum]
    observe64 page.before, rax
    mov dword ptr [page_sum], 0
    mov qword ptr [scratch_table], FRAME + 0x1000 + 3
    invlpg [SCRATCH]
    mov dword ptr [r13 + APIC_ICR], 0xc4000 + SHOOTDOWN
    until_each forgotten
    mov eax, offset read_page
    call on_others
    call read_page
    call finished
    mov eax, [page_sum]
    observe64 page.after, rax
    ret
read_page:
    mov eax, [SCRATCH]
    lock add [page_sum], eax
    ret

# Code that every processor has executed is changed by one; the others serialise and execute it (§9.1.3).
modified_code:
    mov eax, offset execute
    call on_others
    call execute
    call finished
    mov eax, [code_sum]
    observe64 code.before, rax
    mov dword ptr [code_sum], 0
    mov dword ptr [changing + 1], 0x3000
    mov eax, offset execute
    call on_others
    call execute
    call finished
    mov eax, [code_sum]
    observe64 code.after, rax
    ret
execute:
    xor eax, eax
    push rbx
    cpuid
    pop rbx
    call changing
    lock add [code_sum], eax
    ret
.balign 64
changing:
    mov eax, 0x10
    ret
.balign 64

# Messages to the processor 1 and back: the data was stored before the flag, and so it is seen (§8.2.2).
messages:
    mov eax, offset reply
    call on_others
    xor ebx, ebx
    mov ecx, 1
1:  lea eax, [rcx * 8 + rcx]
    mov [message], eax
    mov [message_number], ecx
2:  pause
    cmp [reply_number], ecx
    jne 2b
    mov eax, [reply_text]
    lea edx, [rcx * 8 + rcx + 7]
    cmp eax, edx
    je 3f
    inc ebx
3:  inc ecx
    cmp ecx, MESSAGES
    jbe 1b
    call finished
    observe64 messages.wrong, rbx
    ret
reply:
    identity
    cmp eax, 1
    jne 9f
    mov ecx, 1
1:  pause
    cmp [message_number], ecx
    jne 1b
    mov eax, [message]
    add eax, 7
    mov [reply_text], eax
    mov [reply_number], ecx
    inc ecx
    cmp ecx, MESSAGES
    jbe 1b
9:  ret

# INIT takes a processor out of whatever it does; a start-up interrupt begins anew.
restart:
    mov dword ptr [present], 0
    last_up_to 3
    call start_processor
    mov eax, [online]
    observe64 restarted.online, rax
    mov eax, [present]
    observe64 restarted.present, rax
    mov dword ptr [locked_bits], 0
    mov eax, offset count_locked
    call on_others
    call finished
    mov eax, [locked_bits]
    observe64 restarted.bits, rax
    mov eax, [locked_inc]
    observe64 restarted.inc, rax
    ret

# Starts the processor with identity EBX and waits until it is there: at most for a second.
start_processor:
    push rbx
    mov r14d, [online]
    inc r14d
    shl ebx, 24
    mov [r13 + APIC_ICR_HIGH], ebx
    mov dword ptr [r13 + APIC_ICR], 0x4500
    call ten_milliseconds
    mov dword ptr [r13 + APIC_ICR], 0x4600 + TRAMPOLINE / 4096
    mov ecx, 100
1:  cmp [online], r14d
    je 2f
    call ten_milliseconds
    dec ecx
    jnz 1b
2:  # A second one, as the manual has it, is ignored by who runs already.
    mov dword ptr [r13 + APIC_ICR], 0x4600 + TRAMPOLINE / 4096
    pop rbx
    ret

# Gives the other processors the routine RAX.
on_others:
    mov [routine], rax
    mov dword ptr [done], 0
    lock inc dword ptr [generation]
    mov dword ptr [r13 + APIC_ICR], 0xc4000 + WORK
    ret
finished:
    until_each done
    ret

# RSDP from the PVH start information, then RSDT or XSDT, then the MADT's local APICs that are enabled.
find_processors:
    mov eax, [start_info]
    mov rsi, [rax + 32]
    cmp byte ptr [rsi + 15], 2
    jb 1f
    mov rdi, [rsi + 24]
    mov ebp, 8
    test rdi, rdi
    jnz 2f
1:  mov edi, [rsi + 16]
    mov ebp, 4
2:  mov ecx, [rdi + 4]          # length of the table of tables
    add rcx, rdi
    add rdi, 36
3:  cmp rdi, rcx
    jae 9f
    mov eax, [rdi]
    cmp ebp, 8
    jne 4f
    mov rax, [rdi]
4:  add rdi, rbp
    cmp dword ptr [rax], 0x43495041     # "APIC"
    jne 3b
    mov ecx, [rax + 4]
    add rcx, rax
    lea rdi, [rax + 44]
5:  cmp rdi, rcx
    jae 9f
    cmp byte ptr [rdi], 0
    jne 6f
    test byte ptr [rdi + 4], 1
    jz 6f
    movzx eax, byte ptr [rdi + 3]
    bts dword ptr [listed], eax
    inc qword ptr [processors]
6:  movzx eax, byte ptr [rdi + 1]
    add rdi, rax
    jmp 5b
9:  ret

# Handlers of the other processors; the boot processor has on_mark in common with them. They keep all registers.
on_work:
    push rax
    mov eax, APIC
    mov dword ptr [rax + APIC_EOI], 0
    pop rax
    iretq
on_answer:
    push rax
    push rdx
    identity
    mov edx, APIC
    mov dword ptr [rdx + APIC_EOI], 0
    push rax
    mov eax, [boot_identity]
    shl eax, 24
    mov [rdx + APIC_ICR_HIGH], eax
    pop rax
    add eax, 0x4000 + ANSWERED
    mov [rdx + APIC_ICR], eax
    pop rdx
    pop rax
    iretq
on_shootdown:
    push rax
    invlpg [SCRATCH]
    mov eax, APIC
    mov dword ptr [rax + APIC_EOI], 0
    lock inc dword ptr [forgotten]
    pop rax
    iretq
on_mark:
    push rax
    identity
    lock bts [mark_bits], eax
    mov eax, APIC
    mov dword ptr [rax + APIC_EOI], 0
    lock inc dword ptr [marks]
    pop rax
    iretq
on_nmi:
    lock inc dword ptr [nmis]
    iretq
# The boot processor's, for what the others answered.
on_answered:
    mov eax, [caught_vector64]
    sub eax, ANSWERED
    bts dword ptr [answer_bits], eax
    inc dword ptr [answers]
    mov dword ptr [r13 + APIC_EOI], 0
    ret

# Real mode, CS = 0x800, IP = 0, everything else as INIT leaves it.
.code16
trampoline:
    cli
    cld
    mov bx, cs
    xor ax, ax
    mov ds, ax
    mov ecx, cr0
    .byte 0x66
    lgdt [TRAMPOLINE + trampoline_gdt - trampoline]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmpd CODE32, offset TRAMPOLINE + trampoline32 - trampoline
trampoline_gdt:
    .word gdt_end - gdt - 1
    .long gdt
.code32
trampoline32:
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    mov ss, eax
    # What the processor came from: CS, and PE and PG in CR0.
    movzx ebx, bx
    lock add [started_segments], ebx
    and ecx, 0x80000001
    lock or [started_modes], ecx
    mov eax, 0x6a0              # as in enter_long_mode
    mov cr4, eax
    mov eax, offset level4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, cr0
    or eax, 0x80010022
    and eax, 0x9fffffff         # caches on
    and eax, ~4
    mov cr0, eax
    ljmp CODE64, offset other_processor
trampoline_end:

.code64
other_processor:
    identity
    mov r15d, eax
    inc eax
    imul eax, eax, STACK_SIZE
    lea rsp, [stacks + rax]
    lidt [idt64_pointer]
    mov eax, APIC
    mov dword ptr [rax + APIC_SPURIOUS], 0x1ff
    mov dword ptr [rax + APIC_DFR], -1
    mov ecx, r15d
    mov edx, 0x01000000
    shl edx, cl
    mov [rax + APIC_LDR], edx
    mov ecx, 0x1b
    rdmsr
    and eax, 0x100
    lock or [other_boot_flags], eax
    mov r14d, [generation]
    lock bts [present], r15d
    lock inc dword ptr [online]
1:  cli
    cmp r14d, [generation]
    jne 2f
    sti
    hlt
    jmp 1b
2:  inc r14d
    push r15
    call [routine]
    pop r15
    lock inc dword ptr [done]
    jmp 1b

.data
.balign 64
processors: .quad 0
locked_xadd: .quad 0
locked_cmpxchg: .quad 0
routine: .quad 0
started_segments: .quad 0
listed: .long 0
boot_identity: .long 0
others: .long 0
everybody: .long 0
in_logical: .long 0
present: .long 0
online: .long 0
started_modes: .long 0
other_boot_flags: .long 0
generation: .long 0
done: .long 0
locked_inc: .long 0
locked_bits: .long 0
answers: .long 0
answer_bits: .long 0
marks: .long 0
mark_bits: .long 0
nmis: .long 0
forgotten: .long 0
page_sum: .long 0
code_sum: .long 0
.balign 64
spin_lock: .long 0
.balign 64
guarded: .quad 0
    .skip 56
    .quad 0
.balign 64
message: .long 0
reply_text: .long 0
.balign 64
message_number: .long 0
reply_number: .long 0
.bss
.balign 16
stacks: .skip (CAPACITY + 1) * STACK_SIZE
.text
