# Interrupt controllers: the pair of 8259A in virtual wire mode, the IOAPIC, the local APIC with interprocessor interrupts to
# itself, and what delays an interrupt. Intel SDM Vol. 3A chapter 11 and §6.8; 8259A and 82093AA data sheets.
#
# Two devices ask for interrupts at once when they are told to: COM1 (line 4) whose transmitter is empty, and the keyboard
# controller (line 1) whose output buffer is written by its own command. The clock (line 8) needs a fraction of a millisecond.
# `log` is what was delivered, in order: eight bits each, the last in the lowest.

.include "runtime64.inc"
.include "apic.inc"
.include "waiting64.inc"

.macro start_log
    mov qword ptr [log], 0
.endm
.macro observe_log name
    observe64 \name, "qword ptr [log]"
.endm
.macro pic value
    mov al, \value
    out 0x20, al
.endm
# IMR of the master, of the slave.
.macro pic_mask master, slave=0xff
    mov al, \master
    out 0x21, al
    mov al, \slave
    out 0xa1, al
.endm
.macro pin number, low, high=0
    mov dword ptr [r12], 0x11 + 2 * \number
    mov dword ptr [r12 + IOAPIC_DATA], \high
    mov dword ptr [r12], 0x10 + 2 * \number
    mov dword ptr [r12 + IOAPIC_DATA], \low
.endm
# R14 = low half of the entry of a pin.
.macro read_pin number
    mov dword ptr [r12], 0x10 + 2 * \number
    mov r14d, [r12 + IOAPIC_DATA]
.endm
# An interprocessor interrupt to oneself, by the shorthand.
.macro self vector
    mov dword ptr [r13 + APIC_ICR], 0x44000 + \vector
.endm

main64:
    mov r12d, IOAPIC
    mov r13d, APIC
    mov dword ptr [r13 + APIC_SPURIOUS], 0x1ff
    mov dword ptr [r13 + APIC_LINT0], 0x700
    mov dword ptr [r13 + APIC_TPR], 0
    mov edx, COM1 + 4           # OUT2 lets COM1's interrupt through
    mov al, 8
    out dx, al
    mov qword ptr [on_interrupt64], offset note
    call legacy
    call through_ioapic
    call local
    call delays
    ret

legacy:
    # Masked requests wait; they are delivered in the order of priority when they are unmasked.
    call raise_com1
    call raise_keyboard
    pic 0x0a
    in al, 0x20
    movzx eax, al
    and eax, 0x12
    mov r14, rax
    start_log
    call let_in
    mov r15, [log]
    pic_mask 0xed
    call let_in
    call quiet
    observe64 pic.requests, r14
    observe64 pic.masked, r15
    observe_log pic.by_priority
    pic 0x0b
    in al, 0x20
    movzx eax, al
    observe64 pic.none_in_service, rax

    # A higher one interrupts the handler of a lower one; a lower one waits for the end of interrupt.
    start_log
    mov qword ptr [during_24], offset raise_keyboard
    mov byte ptr [nested], 1
    call raise_com1
    call let_in
    call quiet
    observe_log pic.higher_nests
    start_log
    mov qword ptr [during_24], 0
    mov qword ptr [during_21], offset raise_com1
    call raise_keyboard
    call let_in
    call quiet
    observe_log pic.lower_waits
    observe64 pic.in_service, "qword ptr [in_service]"

    # Special mask mode: only what is masked is held off, so a lower one nests.
    start_log
    mov byte ptr [special], 1
    call raise_keyboard
    call let_in
    call quiet
    mov byte ptr [special], 0
    mov qword ptr [during_21], 0
    mov byte ptr [nested], 0
    pic 0x48
    pic_mask 0xed
    observe_log pic.special_mask

    # Rotated priority: input 1 is the lowest.
    start_log
    pic 0xc1
    call raise_keyboard
    call raise_com1
    call let_in
    call quiet
    pic 0xc7
    observe_log pic.rotated

    # Poll: reading acknowledges.
    start_log
    call raise_com1
    pic 0x0c
    in al, 0x20
    movzx ebx, al
    pic 0x0b
    in al, 0x20
    movzx ebp, al
    pic 0x64                    # specific end of interrupt 4
    in al, 0x20
    movzx r14d, al
    pic 0x0c
    in al, 0x20
    and al, 0x80
    movzx r15d, al
    call let_in
    call quiet
    observe64 pic.poll, rbx
    observe64 pic.poll.in_service, rbp
    observe64 pic.poll.ended, r14
    observe64 pic.poll.nothing, r15
    observe_log pic.poll.log

    # Level-triggered: it comes again until its source is quiet.
    mov edx, 0x4d0
    mov al, 0x10
    out dx, al
    mov byte ptr [quiet_after], 3
    start_log
    call raise_com1
    call let_in
    call quiet
    mov edx, 0x4d0
    xor eax, eax
    out dx, al
    mov byte ptr [quiet_after], 0
    observe_log pic.level

    # The slave: both have it in service.
    pic_mask 0xfb, 0xfe
    mov al, 0x0b
    out 0xa0, al
    start_log
    mov al, 0x0c                # what is pending of the clock is cleared
    out 0x70, al
    in al, 0x71
    mov al, 0x0a
    out 0x70, al
    mov al, 0x26                # 1024 Hz
    out 0x71, al
    mov al, 0x0b
    out 0x70, al
    mov al, 0x42                # the periodic interrupt
    out 0x71, al
1:  sti
    hlt
    cli
    cmp byte ptr [log], 0
    je 1b
    mov al, 0x0b
    out 0x70, al
    mov al, 2
    out 0x71, al
    pic_mask 0xff, 0xff
    movzx eax, byte ptr [log]
    observe64 pic.slave, rax
    movzx eax, byte ptr [in_service]
    observe64 pic.slave.master, rax
    movzx eax, byte ptr [slave_in_service]
    observe64 pic.slave.slave, rax
    pic_mask 0xed

    # Automatic end of interrupt: nothing stays in service, though the handler says nothing.
    mov al, 3
    call initialise_pic
    mov byte ptr [silent], 1
    start_log
    call raise_com1
    call raise_keyboard
    call let_in
    call quiet
    mov byte ptr [silent], 0
    mov al, 1
    call initialise_pic
    pic_mask 0xff
    observe_log pic.automatic
    observe64 pic.automatic.in_service, "qword ptr [in_service]"
    ret

# Initialises the master anew, with AL as its fourth word: vectors 0x20 on, all unmasked but inputs 1 and 4.
initialise_pic:
    push rax
    pic 0x11
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    pop rax
    out 0x21, al
    mov al, 0xed
    out 0x21, al
    ret

through_ioapic:
    mov dword ptr [r13 + APIC_LINT0], 0x10700
    # Edge-triggered: once for a rise, although the line stays up.
    pin 4, 0x64
    start_log
    call raise_com1
    call let_in
    call quiet
    observe_log ioapic.edge
    # An edge on a masked pin is lost, a level is not.
    pin 4, 0x10064
    call raise_com1
    pin 4, 0x64
    start_log
    call let_in
    mov r14, [log]
    pin 4, 0x18064
    call lower_com1
    call raise_com1
    pin 4, 0x08064
    mov byte ptr [quiet_after], 1
    call let_in
    call quiet
    observe64 ioapic.masked_edge, r14
    observe_log ioapic.masked_level

    # Level-triggered: remote IRR until the end of interrupt; again if the line is still up then.
    mov byte ptr [quiet_after], 3
    start_log
    call raise_com1
    read_pin 4
    mov r15d, [r13 + APIC_IRR + 0x30]
    mov ebp, [r13 + APIC_TMR + 0x30]
    call let_in
    call quiet
    observe64 ioapic.remote_request, r14
    observe64 ioapic.request, r15
    observe64 ioapic.trigger_mode, rbp
    observe_log ioapic.level
    read_pin 4
    observe64 ioapic.after_level, r14
    mov byte ptr [quiet_after], 0

    # By logical destination, and to the lowest priority; to nobody.
    mov dword ptr [r13 + APIC_DFR], -1
    mov dword ptr [r13 + APIC_LDR], 0x04000000
    start_log
    pin 4, 0x00864, 0x04000000
    call raise_com1
    call let_in
    call quiet
    pin 4, 0x00965, 0x06000000
    call raise_com1
    call let_in
    call quiet
    pin 4, 0x00866, 0x08000000
    call raise_com1
    call let_in
    call quiet
    observe_log ioapic.logical
    # Two pins at once: by the priority of their vectors.
    pin 4, 0x51
    pin 1, 0x81
    start_log
    call raise_com1
    call raise_keyboard
    call let_in
    call quiet
    pin 1, 0x10000
    observe_log ioapic.by_vector
    # As an NMI, whatever the flags say.
    mov qword ptr [recover64], offset 1f
    mov qword ptr [caught_vector64], -1
    pin 4, 0x00400
    mov rbp, rsp
    call raise_com1
    nop
    nop
1:  mov rsp, rbp
    mov qword ptr [recover64], 0
    pin 4, 0x10000
    call quiet
    observe64 ioapic.nmi, "qword ptr [caught_vector64]"
    ret

local:
    # Requests wait for IF and come by priority.
    start_log
    self 0x51
    self 0x71
    self 0x61
    self 0x71                   # a second one of the same vector before the first is taken is no more than one
    mov eax, [r13 + APIC_IRR + 0x30]
    observe64 apic.requests, rax
    call let_in
    observe_log apic.by_priority
    mov eax, [r13 + APIC_IRR + 0x30]
    observe64 apic.no_requests, rax

    # The task priority holds off its own class and those below.
    start_log
    mov dword ptr [r13 + APIC_TPR], 0x60
    self 0x61
    self 0x6f
    self 0x71
    call let_in
    observe_log apic.task_priority
    mov eax, 5
    mov cr8, rax
    call let_in
    observe_log apic.lowered
    xor eax, eax
    mov cr8, rax

    # A higher class interrupts a handler, the same class does not.
    mov byte ptr [nested], 1
    mov qword ptr [during_61], offset send_71_and_6f
    start_log
    self 0x61
    call let_in
    observe_log apic.nested
    mov rax, [in_service]
    observe64 apic.in_service, rax
    mov rax, [priority]
    observe64 apic.priority_during, rax
    mov byte ptr [nested], 0
    mov qword ptr [during_61], 0

    # By physical destination; by the logical one; to everybody else, which is nobody.
    mov eax, [r13 + APIC_ID]
    start_log
    mov [r13 + APIC_ICR_HIGH], eax
    mov dword ptr [r13 + APIC_ICR], 0x4052
    call let_in
    mov dword ptr [r13 + APIC_ICR_HIGH], 0x04000000
    mov dword ptr [r13 + APIC_ICR], 0x4853
    call let_in
    mov dword ptr [r13 + APIC_ICR], 0xc4054
    call let_in
    mov dword ptr [r13 + APIC_ICR], 0x84055
    call let_in
    observe_log apic.destinations
    mov eax, [r13 + APIC_ICR]
    and eax, 0xcefff
    observe64 apic.command, rax

    # NMI by the command register: at once although IF is clear. Its handler sends another, which waits for IRET.
    mov byte ptr [idt64 + 2 * 16 + 4], 1
    set_gate64 2, on_nmi
    start_log
    call send_nmi
    in al, 0x80
    in al, 0x80
    observe_log apic.nmi
    ret

send_71_and_6f:
    self 0x71
    self 0x6f
    ret

send_nmi:
    mov eax, [r13 + APIC_ID]
    mov [r13 + APIC_ICR_HIGH], eax
    mov dword ptr [r13 + APIC_ICR], 0x4400
    ret

# Logs 0xf1 at its start and 0xf2 at its end; the first one sends a second.
on_nmi:
    push rax
    mov al, 0xf1
    call append
    cmp byte ptr [log + 1], 0
    jne 1f
    call send_nmi
    nop
1:  mov al, 0xf2
    call append
    pop rax
    iretq

delays:
    # STI takes effect behind the next instruction: CLI there means that nothing comes.
    start_log
    self 0x51
    sti
    cli
    observe_log shadow.sti_cli
    # The one instruction is executed first.
    xor ebx, ebx
    mov qword ptr [during_51], offset note_rbx
    sti
    inc ebx
    in al, 0x80
    inc ebx
    cli
    mov rax, [noted]
    observe64 shadow.executed, rax
    # POPF and IRET have no shadow.
    start_log
    xor ebx, ebx
    self 0x51
    push 0x202
    popfq
    in al, 0x80
    inc ebx
    cli
    mov rax, [noted]
    observe64 shadow.popf, rax
    # HLT ends behind itself.
    self 0x51
    xor ebx, ebx
    sti
    hlt
halted:
    inc ebx
    cli
    mov rax, [noted]
    observe64 halt.before_next, rax
    mov rax, [caught_address64]
    sub rax, offset halted
    observe64 halt.address, rax
    mov qword ptr [during_51], 0

    # An interrupt gate clears IF, a trap gate does not.
    mov qword ptr [during_51], offset note_flags
    self 0x51
    call let_in
    mov rax, [noted]
    observe64 gate.interrupt, rax
    mov byte ptr [idt64 + 0x51 * 16 + 5], 0x8f
    self 0x51
    call let_in
    mov rax, [noted]
    observe64 gate.trap, rax
    # A software interrupt heeds neither IF nor the task priority, and needs no end of interrupt.
    mov dword ptr [r13 + APIC_TPR], 0xf0
    mov byte ptr [silent], 1
    start_log
    int 0x52
    observe_log software
    mov eax, [r13 + APIC_ISR + 0x20]
    observe64 software.in_service, rax
    mov dword ptr [r13 + APIC_TPR], 0
    ret

note_rbx:
    mov rax, [saved_rbx]
    mov [noted], rax
    ret
note_flags:
    pushfq
    pop rax
    and eax, 0x200
    mov [noted], rax
    ret

# COM1's line rises: the interrupt of its empty transmitter is enabled.
raise_com1:
    mov edx, COM1 + 5
1:  in al, dx
    and al, 0x60
    cmp al, 0x60
    jne 1b
    mov edx, COM1 + 1
    mov al, 2
    out dx, al
    ret
# Its line falls.
lower_com1:
    mov edx, COM1 + 1
    xor eax, eax
    out dx, al
    mov edx, COM1 + 2
    in al, dx
    ret
# The keyboard's line rises: a byte comes into the output buffer.
raise_keyboard:
1:  in al, 0x64
    test al, 2
    jnz 1b
    mov al, 0xd2
    out 0x64, al
2:  in al, 0x64
    test al, 2
    jnz 2b
    mov al, 0x5a
    out 0x60, al
3:  in al, 0x64
    test al, 1
    jz 3b
    ret
# Both lines fall.
quiet:
    call lower_com1
1:  in al, 0x64
    test al, 1
    jz 2f
    in al, 0x60
    jmp 1b
2:  ret

# Appends AL to the log.
append:
    push rcx
    mov rcx, [log]
    shl rcx, 8
    mov cl, al
    mov [log], rcx
    pop rcx
    ret

# Called for each interrupt: notes its vector; with `nested`, does what is to be done during it with interrupts on and notes 0xee
# at the end; quietens its source after `quiet_after` bytes of the log, and says that it is over.
note:
    mov [saved_rbx], rbx
    mov rbx, [caught_vector64]
    mov al, bl
    call append
    mov al, 0x0b
    out 0x20, al
    in al, 0x20
    movzx eax, al
    cmp ebx, 0x30
    jae 1f
    mov [in_service], rax
    mov al, 0x0b
    out 0xa0, al
    in al, 0xa0
    mov [slave_in_service], al
1:  xor eax, eax
    cmp ebx, 0x21
    cmove rax, [during_21]
    cmp ebx, 0x24
    cmove rax, [during_24]
    cmp ebx, 0x61
    cmove rax, [during_61]
    cmp ebx, 0x51
    cmove rax, [during_51]
    test rax, rax
    jz 2f
    call rax
    cmp byte ptr [nested], 0
    je 2f
    cmp byte ptr [special], 0
    je 3f
    mov al, 0x68                # special mask mode, and then this input is masked
    out 0x20, al
    mov al, 0xef
    out 0x21, al
3:  cmp ebx, 0x61
    jne 4f
    mov eax, [r13 + APIC_ISR + 0x30]
    mov [in_service], rax
    mov eax, [r13 + APIC_PPR]
    mov [priority], rax
4:  call let_in
    mov al, 0xee
    call append
2:  cmp byte ptr [silent], 0
    jne 9f
    movzx eax, byte ptr [quiet_after]
    test eax, eax
    jz 5f
    cmp byte ptr [log + rax - 1], 0
    je 5f
    push rbx
    call lower_com1
    pop rbx
5:  cmp ebx, 0x30
    jae 8f
    cmp ebx, 0x28
    jb 6f
    mov al, 0x0c                # the clock wants its flags read
    out 0x70, al
    in al, 0x71
    mov al, 0x20
    out 0xa0, al
    mov al, 0x62
    out 0x20, al
    ret
6:  lea eax, [rbx + 0x40]       # a specific end, 0x60 on: the other kind does not see what is masked in special mask mode
    out 0x20, al
    ret
8:  mov dword ptr [r13 + APIC_EOI], 0
9:  ret

.data
.balign 8
log: .quad 0
noted: .quad 0
saved_rbx: .quad 0
in_service: .quad 0
priority: .quad 0
during_21: .quad 0
during_24: .quad 0
during_51: .quad 0
during_61: .quad 0
slave_in_service: .byte 0
nested: .byte 0
special: .byte 0
quiet_after: .byte 0
silent: .byte 0
.text
