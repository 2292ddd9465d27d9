# State of the FPU that a checkpoint has to carry: control and status words, registers and their tags, an exception that is pending,
# MXCSR and the sixteen XMM registers; and CR0.TS, behind which an operating system keeps all that until it is asked for. It is set
# up, the program waits (see doorbell.inc), and then looks at everything. Intel SDM Vol. 1 §8.1, §10.2, §10.5.

.include "runtime64.inc"
.include "doorbell.inc"

main64:
    # Two registers more than are full, so that the top is in the middle; one is freed in between.
    fninit
    fld tbyte ptr [not_a_number]
    fld tbyte ptr [denormal]
    fldpi
    fldz
    fchs
    fld tbyte ptr [infinite]
    ffree st(2)
    fld1
    fcom st(4)                  # condition codes, and what comparing a denormal notes
    # Division by zero, unmasked: it waits for an instruction that waits.
    mov word ptr [control], 0x0c7b
    fldcw [control]
    fdiv st, st(2)
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movdqu xmm\number, [patterns + 8 * \number]
    .endr
    mov dword ptr [control], 0xbf94
    ldmxcsr [control]
    mov rax, cr0
    or eax, 8
    mov cr0, rax
    say_ready
    wait_for_doorbell
    attempt64
    movdqa xmm0, xmm1
    attempted64 not_available
    attempt64
    fnop
    attempted64 not_available.fpu
    clts
    fxsave64 [area]
    movzx eax, word ptr [area]
    observe64 control, rax
    movzx eax, word ptr [area + 2]
    observe64 status, rax
    movzx eax, word ptr [area + 4]
    observe64 tags, rax
    mov eax, [area + 24]
    observe64 mxcsr, rax
    .irp number, 0, 1, 2, 3, 4, 5
    observe64 st\number, "qword ptr [area + 32 + 16 * \number]"
    movzx eax, word ptr [area + 40 + 16 * \number]
    observe64 st\number\().exponent, rax
    .endr
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    observe64 xmm\number, "qword ptr [area + 160 + 16 * \number]"
    observe64 xmm\number\().high, "qword ptr [area + 168 + 16 * \number]"
    .endr
    attempt64
    fwait
    attempted64 pending
    fnclex
    attempt64
    fwait
    attempted64 cleared
    # The modes are in force: towards zero, and tiny results flushed.
    fninit
    fldcw [area]
    fild word ptr [minus_seven]
    fidiv word ptr [two]
    fistp word ptr [control]
    movzx eax, word ptr [control]
    observe64 divided, rax
    movss xmm0, [tiny]
    mulss xmm0, [half]
    movd eax, xmm0
    observe64 flushed, rax
    ret

.data
.balign 16
area: .skip 512
not_a_number: .quad 0xc123456789abcdef
    .word 0x7fff
denormal: .quad 0x0000456789abcdef
    .word 0x8000
infinite: .quad 0x8000000000000000
    .word 0xffff
control: .long 0
minus_seven: .word -7
two: .word 2
tiny: .long 0x00800001
half: .single 0.5
.balign 16
patterns:
    .set number, 1
    .rept 18
    .quad number * 0x0123456789abcdef
    .set number, number + 2
    .endr
.text
