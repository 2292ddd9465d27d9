# State that a checkpoint has to carry, all of it unusual and legal: general registers and flags, debug registers with breakpoints
# armed, control registers, hidden parts of segments, model-specific registers, pending interrupts, and devices left half-way
# through being programmed. It is set up, the program waits (see doorbell.inc), and then looks at everything.

.include "runtime64.inc"
.include "apic.inc"
.include "doorbell.inc"

.macro write_msr index, value
    mov rax, \value
    mov rdx, rax
    shr rdx, 32
    mov ecx, \index
    wrmsr
.endm
.macro observe_msr name, index
    mov ecx, \index
    rdmsr
    shl rdx, 32
    or rax, rdx
    observe64 \name, rax
.endm
.macro write_port port, value
    mov edx, \port
    mov al, \value
    out dx, al
.endm
.macro observe_port name, port
    mov edx, \port
    in al, dx
    movzx eax, al
    observe64 \name, rax
.endm
.macro observe_apic name, register
    mov eax, [r13 + \register]
    observe64 apic.\name, rax
.endm
.macro pin_low number
    mov dword ptr [r12], 0x10 + 2 * \number
.endm

main64:
    say_ready
    mov edx, COM1 + 5           # the line is set up anew below: all must be sent
1:  in al, dx
    and al, 0x60
    cmp al, 0x60
    jne 1b
    call set_devices
    call set_processor
    call wait_with_registers
    call look_at_processor
    call look_at_devices
    ret

set_processor:
    # Breakpoints: stores to `watched` of 4 bytes, execution of `stop_here`. BS is set in DR6, as if by an earlier single step.
    mov eax, offset watched
    mov dr0, rax
    mov eax, offset stop_here
    mov dr1, rax
    mov rax, 0x123456789abc
    mov dr2, rax
    mov rax, 0xffff800000001000
    mov dr3, rax
    mov eax, 0xffff4ff0
    mov dr6, rax
    mov eax, 0x000d0705
    mov dr7, rax
    # CR4 with TSD, DE, MCE and PCE; CR0 with AM.
    mov rax, cr4
    or eax, 0x14c
    mov cr4, rax
    mov rax, cr0
    or eax, 0x40000
    mov cr0, rax
    mov eax, 0x12345678
    mov cr2, rax
    # FS has the base of a descriptor that is gone; DS is null; LDTR has a table of one descriptor.
    mov dword ptr [gdt_spare], 0x5678ffff
    mov dword ptr [gdt_spare + 4], 0x00cf9334
    mov eax, 0x58
    mov fs, eax
    mov qword ptr [gdt_spare], 0
    xor eax, eax
    mov ds, eax
    mov eax, offset local_table
    mov word ptr [gdt_spare + 8], 15
    mov word ptr [gdt_spare + 10], ax
    shr eax, 16
    mov byte ptr [gdt_spare + 12], al
    mov byte ptr [gdt_spare + 13], 0x82
    mov byte ptr [gdt_spare + 15], ah
    mov qword ptr [gdt_spare + 16], 0
    mov eax, 0x60
    lldt ax
    mov eax, 0x0c
    mov es, eax
    # Model-specific registers.
    write_msr 0x174, 0x0008
    write_msr 0x175, 0xffff900012345678
    write_msr 0x176, 0xffff900087654321
    write_msr 0xc0000081, 0x0033001800112233
    write_msr 0xc0000082, 0xffffa00011112222
    write_msr 0xc0000083, 0xffffa00033334444
    write_msr 0xc0000084, 0x47700
    write_msr 0xc0000101, 0xffffb00055556666
    write_msr 0xc0000102, 0x00001000777788
    write_msr 0x277, 0x0007050600070106
    write_msr 0x250, 0x0606060606060606
    write_msr 0x26f, 0x0505050505050505
    write_msr 0x200, 0xe0000001
    write_msr 0x201, 0xfe0000800
    write_msr 0x2ff, 0xc06
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [time], rax
    ret

set_devices:
    mov r12d, IOAPIC
    mov r13d, APIC
    # The local APIC: its registers, an interrupt in service, one that waits for the task priority, a timer that counts.
    mov dword ptr [r13 + APIC_SPURIOUS], 0x1f5
    mov qword ptr [on_interrupt64], offset keep_in_service
    mov dword ptr [r13 + APIC_ICR], 0x44061
    sti
    nop
    in al, 0x80
    cli
    mov dword ptr [r13 + APIC_ICR], 0x44051
    mov eax, 7
    mov cr8, rax
    mov dword ptr [r13 + APIC_LDR], 0x40000000
    mov dword ptr [r13 + APIC_DFR], 0x0fffffff
    mov dword ptr [r13 + APIC_LINT0], 0x18733
    mov dword ptr [r13 + APIC_LINT1], 0x10400
    mov dword ptr [r13 + APIC_ERROR], 0x100fe
    mov dword ptr [r13 + APIC_ICR_HIGH], 0x5a000000
    mov dword ptr [r13 + APIC_DIVIDE], 0xa
    mov dword ptr [r13 + APIC_TIMER], 0x10077
    mov dword ptr [r13 + APIC_INITIAL], 0x7fffffff
    # The IOAPIC: two entries, an identity, and the index left on another register.
    mov dword ptr [r12], 0
    mov dword ptr [r12 + IOAPIC_DATA], 0x0b000000
    mov dword ptr [r12], 0x11 + 2 * 20
    mov dword ptr [r12 + IOAPIC_DATA], 0x3c000000
    pin_low 20
    mov dword ptr [r12 + IOAPIC_DATA], 0x1a9c3
    pin_low 21
    mov dword ptr [r12 + IOAPIC_DATA], 0x008d4
    mov dword ptr [r12], 0x11 + 2 * 20
    # The master 8259A has a request of COM1's and shows what is in service; the slave waits for its second word.
    write_port COM1 + 4, 0x0b
    write_port COM1 + 1, 2
    write_port 0x21, 0xb9
    write_port 0x20, 0x0b
    write_port 0xa0, 0x11
    write_port 0x4d1, 0x0c
    # COM1's divisor is being set.
    write_port COM1 + 7, 0xa7
    write_port COM1 + 3, 0x9b
    write_port COM1, 0x23
    write_port COM1 + 1, 0x01
    # 8254: a status latched and not read; a count of which one byte is written.
    write_port 0x43, 0x76
    write_port 0x43, 0xe4
    write_port 0x61, 1
    write_port 0x43, 0xb0
    write_port 0x42, 0x50
    # The clock's index points to a byte of its memory; rate and coding are set.
    write_port 0x70, 0x0a
    write_port 0x71, 0x2c
    write_port 0x70, 0x0b
    write_port 0x71, 0x06
    write_port 0x70, 0x4d
    write_port 0x71, 0x5a
    # The keyboard controller waits for the byte of a command.
1:  in al, 0x64
    test al, 2
    jnz 1b
    write_port 0x64, 0x60
    # ACPI's enables, and the reset register told to be a hard reset.
    mov edx, 0x602
    mov eax, 0x0120
    out dx, ax
    write_port 0xcf9, 2
    ret

# Waits with a pattern in every register, and flags that the wait leaves alone.
wait_with_registers:
    push 0x240000               # ID and AC, by themselves harmless in ring 0
    popfq
    std
    mov [stack_before], rsp
    .irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    mov \register, offset pattern_\register
    bswap \register
    .endr
    wait_for_doorbell
    pushfq
    pop qword ptr [flags_after]
    cld
    .irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    bswap \register
    cmp \register, offset pattern_\register
    jne 9f
    .endr
    cmp rsp, [stack_before]
    jne 9f
    mov byte ptr [registers_kept], 1
9:  push 2
    popfq
    ret
    .set pattern, 0x10203040
    .irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    .set pattern_\register, pattern
    .set pattern, pattern + 0x01010101
    .endr

look_at_processor:
    # COM1 first, so that there is something to print with: its divisor latch is open.
    mov edx, COM1
    in al, dx
    mov bl, al
    mov edx, COM1 + 1
    in al, dx
    mov bh, al
    movzx r14d, bx
    mov edx, COM1 + 3
    in al, dx
    movzx r15d, al
    write_port COM1, 1
    write_port COM1 + 1, 0
    write_port COM1 + 3, 3
    movzx eax, byte ptr [registers_kept]
    observe64 registers, rax
    mov rax, [flags_after]
    and eax, 0x240400
    observe64 flags, rax
    observe64 com1.divisor, r14
    observe64 com1.line_control, r15

    mov rax, dr0
    sub rax, offset watched
    observe64 dr0, rax
    mov rax, dr1
    sub rax, offset stop_here
    observe64 dr1, rax
    .irp number, 2, 3, 6, 7
    mov rax, dr\number
    observe64 dr\number, rax
    .endr
    mov rax, cr0
    observe64 cr0, rax
    mov rax, cr2
    observe64 cr2, rax
    mov rax, cr4
    observe64 cr4, rax
    mov rax, cr8
    observe64 cr8, rax
    # The breakpoints are armed.
    mov dword ptr [watched + 4], 1
    attempt64
    mov dword ptr [watched], 1
    attempted64 watched
    mov rax, dr6
    and eax, 0xf
    observe64 watched.dr6, rax
    mov eax, [watched]
    observe64 watched.stored, rax
    mov eax, 0xffff0ff0
    mov dr6, rax
    xor ebx, ebx
    attempt64
stop_here:
    inc ebx
    attempted64 stopped
    mov rax, dr6
    and eax, 0xf
    observe64 stopped.dr6, rax
    observe64 stopped.executed, rbx
    mov eax, 0x400
    mov dr7, rax
    # Segments.
    mov eax, ds
    movzx eax, ax
    observe64 ds, rax
    mov eax, es
    movzx eax, ax
    observe64 es, rax
    sldt ax
    movzx eax, ax
    observe64 ldtr, rax
    str ax
    movzx eax, ax
    observe64 tr, rax
    attempt64
    mov eax, 0x0c               # the one descriptor of LDTR's table
    mov es, eax
    attempted64 ldtr.within
    attempt64
    mov eax, 0x14               # beyond it
    mov es, eax
    attempted64 ldtr.beyond
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    sgdt [table]
    movzx eax, word ptr [table]
    observe64 gdt.limit, rax
    observe_msr fs, 0xc0000100
    observe_msr gs, 0xc0000101
    swapgs
    observe_msr gs.swapped, 0xc0000101
    swapgs
    observe_msr sysenter.cs, 0x174
    observe_msr sysenter.esp, 0x175
    observe_msr sysenter.eip, 0x176
    observe_msr star, 0xc0000081
    observe_msr lstar, 0xc0000082
    observe_msr cstar, 0xc0000083
    observe_msr fmask, 0xc0000084
    observe_msr efer, 0xc0000080
    observe_msr pat, 0x277
    observe_msr mtrr.fixed_first, 0x250
    observe_msr mtrr.fixed_last, 0x26f
    observe_msr mtrr.base, 0x200
    observe_msr mtrr.mask, 0x201
    observe_msr mtrr.default, 0x2ff
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, [time]
    seta al
    movzx eax, al
    observe64 time_went_on, rax
    ret

look_at_devices:
    mov r12d, IOAPIC
    mov r13d, APIC
    observe_apic spurious, APIC_SPURIOUS
    observe_apic logical_destination, APIC_LDR
    observe_apic destination_format, APIC_DFR
    observe_apic lint0, APIC_LINT0
    observe_apic lint1, APIC_LINT1
    observe_apic error, APIC_ERROR
    observe_apic command_high, APIC_ICR_HIGH
    observe_apic divider, APIC_DIVIDE
    observe_apic timer, APIC_TIMER
    observe_apic initial, APIC_INITIAL
    mov eax, [r13 + APIC_CURRENT]
    mov ebx, eax
    dec ebx
    cmp ebx, 0x7ffffffe
    setb al
    movzx eax, al
    observe64 apic.counting, rax
    mov eax, [r13 + APIC_ISR + 0x30]
    observe64 apic.in_service, rax
    mov eax, [r13 + APIC_IRR + 0x20]
    observe64 apic.requested, rax
    # The priorities still hold it off; then it comes.
    mov qword ptr [on_interrupt64], offset end_it
    mov qword ptr [caught_vector64], 0
    sti
    nop
    in al, 0x80
    cli
    observe64 apic.held_off, "qword ptr [caught_vector64]"
    xor eax, eax
    mov cr8, rax
    mov dword ptr [r13 + APIC_EOI], 0
    sti
    nop
    in al, 0x80
    cli
    observe64 apic.let_in, "qword ptr [caught_vector64]"

    mov eax, [r12 + IOAPIC_DATA]
    observe64 ioapic.at_index, rax
    mov eax, [r12]
    observe64 ioapic.index, rax
    mov dword ptr [r12], 0
    mov eax, [r12 + IOAPIC_DATA]
    observe64 ioapic.id, rax
    pin_low 20
    mov eax, [r12 + IOAPIC_DATA]
    observe64 ioapic.entry20, rax
    pin_low 21
    mov eax, [r12 + IOAPIC_DATA]
    observe64 ioapic.entry21, rax

    observe_port pic.mask, 0x21
    observe_port pic.in_service, 0x20
    write_port 0x20, 0x0a
    in al, 0x20
    and eax, 0x10
    observe64 pic.request, rax
    # The slave takes what is left of its four words, and its mask is what the first one made it.
    write_port 0xa1, 0x70
    write_port 0xa1, 2
    write_port 0xa1, 1
    observe_port pic.slave_mask, 0xa1
    observe_port pic.edge_level, 0x4d1
    observe_port com1.scratch, COM1 + 7
    observe_port com1.modem_control, COM1 + 4
    observe_port com1.interrupts, COM1 + 1
    in al, 0x41
    and eax, 0x3f
    observe64 pit.status, rax
    write_port 0x42, 0
    mov ecx, 100000
1:  in al, 0x61
    test al, 0x20
    jnz 2f
    dec ecx
    jnz 1b
2:  and eax, 0x23
    observe64 pit.ended, rax
    observe_port clock.memory, 0x71
    write_port 0x70, 0x0a
    in al, 0x71
    and eax, 0x7f
    observe64 clock.a, rax
    write_port 0x70, 0x0b
    observe_port clock.b, 0x71
    # The byte that the command waited for.
    write_port 0x60, 0x44
3:  in al, 0x64
    test al, 2
    jnz 3b
    write_port 0x64, 0x20
4:  in al, 0x64
    test al, 1
    jz 4b
    observe_port keyboard.command_byte, 0x60
    mov edx, 0x602
    in ax, dx
    movzx eax, ax
    observe64 acpi.enables, rax
    observe_port reset.register, 0xcf9
    ret

keep_in_service:
    ret
end_it:
    mov dword ptr [r13 + APIC_EOI], 0
    ret

.data
.balign 16
local_table: .quad 0, 0x00cf93000000ffff
watched: .quad 0
time: .quad 0
flags_after: .quad 0
stack_before: .quad 0
table: .quad 0, 0
registers_kept: .byte 0
.text
