# Two loops of accesses that leave the guest, in 32-bit protected mode. Around each, `NAME begin` and `NAME end COUNT` are printed,
# where COUNT is the number of accesses; whoever measures takes the time between the lines.
#
# device: writes to the scratch register of COM1, which a device model answers. ignored: writes to the port for delays, which have
# no effect.

.include "runtime32.inc"

.text
.macro report name, port
    .pushsection .rodata
begin_\name: .asciz "\name begin\n"
end_\name: .asciz "\name end 50000\n"
    .popsection
    mov esi, offset begin_\name
    call put_string
    mov edx, \port
    mov ecx, 50000
1:  out dx, al
    dec ecx
    jnz 1b
    mov esi, offset end_\name
    call put_string
.endm

main:
    report device, COM1 + 7
    report ignored, 0x80
    ret
