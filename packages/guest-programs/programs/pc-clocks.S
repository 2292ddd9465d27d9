# The timers of the PC/AT and ACPI's: read-back and access modes of the 8254, its modes that end, port 0x61, the interrupt flags
# and the registers of the MC146818A clock, the power management timer. 8254 and MC146818A data sheets; ACPI §4.8.3.3. What is
# observed is registers, order and counts, and that something lasted at least as long as it has to.

.include "runtime64.inc"
.include "apic.inc"
.include "waiting64.inc"

.equ CONTROL, 0x43
.equ LATCH_STATUS, 0xe0         # read-back of the status, but not of the count
.equ LATCH_BOTH, 0xc0
.equ STATUS, 0x3f               # without the output and the null count, which say how soon after a write this was
.equ PM_TIMER, 0x608

.macro control value
    mov al, \value
    out CONTROL, al
.endm
.macro cmos_read index, register=eax
    mov al, \index
    out 0x70, al
    in al, 0x71
    movzx \register, al
.endm
.macro cmos_write index, value
    mov al, \index
    out 0x70, al
    mov al, \value
    out 0x71, al
.endm

main64:
    mov edi, APIC
    mov dword ptr [rdi + APIC_SPURIOUS], 0x1ff
    mov dword ptr [rdi + APIC_LINT0], 0x700
    mov qword ptr [on_interrupt64], offset fired
    call read_back
    call channel_2
    call channel_0
    call clock
    call power_timer
    ret

# Status: access, mode, coding.
read_back:
    control 0xb0                # channel 2: low and high byte, mode 0
    control LATCH_STATUS + 8
    in al, 0x42
    and eax, STATUS
    mov ebx, eax
    control 0x94                # low byte, mode 2
    control LATCH_STATUS + 8
    in al, 0x42
    and eax, STATUS
    shl ebx, 8
    or ebx, eax
    control 0xa6                # high byte, mode 3
    control LATCH_STATUS + 8
    in al, 0x42
    and eax, STATUS
    shl ebx, 8
    or ebx, eax
    control 0xba                # both, mode 5
    control LATCH_STATUS + 8
    in al, 0x42
    and eax, STATUS
    shl ebx, 8
    or ebx, eax
    observe64 status, rbx
    # One command for channels 0 and 2, each of which answers at its own port.
    control 0x34
    control LATCH_STATUS + 8 + 2
    in al, 0x40
    and eax, STATUS
    mov ebx, eax
    in al, 0x42
    and eax, STATUS
    shl ebx, 8
    or ebx, eax
    observe64 status.two, rbx
    # Status and count at once: the status comes first, then the low and the high byte.
    control 0xb4
    mov al, 0x34
    out 0x42, al
    mov al, 0x12
    out 0x42, al
    control LATCH_BOTH + 8
    in al, 0x42
    and eax, STATUS
    observe64 status.first, rax
    in al, 0x42
    in al, 0x42
    # Now the next byte is a low one again: a latched count is read as a whole, and is not above what it started from.
    control 0x80
    in al, 0x42
    mov bl, al
    in al, 0x42
    mov bh, al
    cmp bx, 0x1234
    setbe bl
    movzx ebx, bl
    observe64 count.plausible, rbx
    ret

# Port 0x61: gate and speaker bits read back, the output of channel 2 is seen there.
channel_2:
    in al, 0x61
    and al, 0xfc
    out 0x61, al
    in al, 0x61
    and eax, 3
    mov ebx, eax
    mov al, 1
    out 0x61, al
    in al, 0x61
    and eax, 3
    shl ebx, 8
    or ebx, eax
    observe64 port61.gate, rbx
    # Mode 0: low until it has counted to the end, then high.
    control 0xb0
    in al, 0x61
    and eax, 0x20
    mov r14, rax
    call ten_milliseconds
    in al, 0x61
    and eax, 0x20
    observe64 mode0.before, r14
    observe64 mode0.after, rax
    # The bit that once followed the refresh of memory toggles.
    xor ebx, ebx
    mov ecx, 100000
1:  in al, 0x61
    and eax, 0x10
    shr eax, 4
    inc eax                     # 1 or 2
    or ebx, eax
    cmp ebx, 3
    je 2f
    dec ecx
    jnz 1b
2:  observe64 port61.toggles, rbx
    ret

# Modes that end interrupt once, by low byte alone and by both; mode 2 and 3 go on.
channel_0:
    control 0x30                # its output is low
    mov al, 0xfe
    out 0x21, al
    call let_in                 # an edge may have come before
    mov dword ptr [count], 0
    mov al, 0xe8
    out 0x40, al
    mov al, 3
    out 0x40, al
    call wait_one
    call ten_milliseconds
    call let_in
    mov eax, [count]
    observe64 mode0.count, rax
    mov dword ptr [count], 0
    control 0x18                # low byte, mode 4
    mov al, 200
    out 0x40, al
    call wait_one
    call ten_milliseconds
    call let_in
    mov eax, [count]
    observe64 mode4.count, rax
    mov dword ptr [count], 0
    control 0x26                # high byte, mode 3
    mov al, 4
    out 0x40, al
    call wait_one
    call wait_one
    call wait_one
    mov al, 0xff
    out 0x21, al
    cmp dword ptr [count], 3
    setae al
    movzx eax, al
    observe64 mode3.goes_on, rax
    # What a control word stops stays stopped.
    control 0x30
    call let_in
    mov dword ptr [count], 0
    mov al, 0xfe
    out 0x21, al
    call let_in                 # an edge may have come before
    mov dword ptr [count], 0
    call ten_milliseconds
    call let_in
    mov al, 0xff
    out 0x21, al
    mov eax, [count]
    observe64 stopped.count, rax
    ret

clock:
    # While it is being set, the time stands still and reads as it was written.
    cmos_write 0x0b, 0x82
    cmos_write 0, 0x58
    cmos_write 2, 0x59
    cmos_write 4, 0x23
    cmos_write 7, 0x31
    cmos_write 8, 0x12
    cmos_write 9, 0x99
    call ten_milliseconds
    xor ebx, ebx
    mov ecx, 9
1:  mov al, cl
    out 0x70, al
    in al, 0x71
    cmp ecx, 5
    ja 2f
    test ecx, 1
    jnz 3f
2:  cmp ecx, 6                  # the day of the week is anyone's
    je 3f
    shl rbx, 8
    mov bl, al
3:  dec ecx
    jns 1b
    observe64 time, rbx
    cmos_read 0x0b
    observe64 clock.b, rax
    cmos_read 0x0d
    observe64 clock.d, rax
    # Memory, with and without the bit that holds off NMIs.
    cmos_write 0x4c, 0xa5
    cmos_write 0xcd, 0x5a
    cmos_read 0xcc
    mov ebx, eax
    cmos_read 0x4d
    shl ebx, 8
    or ebx, eax
    observe64 clock.memory, rbx
    # The periodic interrupt's flag, with its line masked; reading clears it.
    cmos_write 0x0a, 0x26
    cmos_write 0x0b, 0x02
    cmos_read 0x0c
    cmos_write 0x0b, 0x42
    # Not the flag of a second that ends meanwhile.
4:  cmos_read 0x0c
    test eax, 0x40
    jz 4b
    mov ebx, eax
    and ebx, 0xc0
    cmos_write 0x0b, 0x02
    cmos_read 0x0c
    cmos_read 0x0c
    and eax, 0x80
    observe64 clock.flags, rbx
    observe64 clock.cleared, rax
    # Five of its interrupts through the slave, each ends a HLT.
    mov dword ptr [count], 0
    mov al, 0xfb
    out 0x21, al
    mov al, 0xfe
    out 0xa1, al
    cmos_write 0x0b, 0x42
    call wait_one
    call wait_one
    call wait_one
    call wait_one
    call wait_one
    mov al, 0xff
    out 0xa1, al
    out 0x21, al
    cmos_write 0x0b, 0x02
    observe64 clock.vector, "qword ptr [caught_vector64]"
    ret

# 3.58 MHz: 10 ms by the PIT are 35795 ticks, or more if this was held up.
power_timer:
    mov edx, PM_TIMER
    in eax, dx
    mov ebx, eax
    call ten_milliseconds
    mov edx, PM_TIMER
    in eax, dx
    sub eax, ebx
    and eax, 0xffffff
    cmp eax, 35700
    setae al
    movzx eax, al
    observe64 power_timer.long_enough, rax
    ret

fired:
    inc dword ptr [count]
    cmp dword ptr [caught_vector64], 0x28
    jb 1f
    cmos_read 0x0c
    mov al, 0x20
    out 0xa0, al
1:  mov al, 0x20
    out 0x20, al
    ret

.data
.balign 8
count: .quad 0
.text
