# The x87 FPU: control and status words, the three formats and BCD, rounding and precision, comparison, classes, the stack's own
# faults, masked and unmasked exceptions, the saved environment; and MMX, which shares its registers. Intel SDM Vol. 1 chapters
# 8 and 9. Only what IEEE 754 or the manual fixes to the last bit is observed.

.include "runtime64.inc"

.macro control value
    mov word ptr [word0], \value
    fldcw [word0]
.endm
.macro observe_status name, mask=0xffff
    fnstsw ax
    and eax, \mask
    observe64 \name, rax
.endm
# ST(0) in the three formats; it is popped.
.macro observe_single name
    fstp dword ptr [image]
    mov eax, [image]
    observe64 \name, rax
.endm
.macro observe_double name
    fstp qword ptr [image]
    observe64 \name, "qword ptr [image]"
.endm
.macro observe_extended name
    fstp tbyte ptr [image]
    movzx eax, word ptr [image + 8]
    observe64 "\name\().exponent", rax
    observe64 \name, "qword ptr [image]"
.endm

main64:
    fninit
    fnstcw [word0]
    movzx eax, word ptr [word0]
    observe64 control, rax
    observe_status status
    fnstenv [image]
    fninit
    movzx eax, word ptr [image + 8]
    observe64 tags, rax

    call arithmetic
    call rounding
    call comparison
    call classes
    call stack_faults
    call masked
    call unmasked
    call environment
    call mmx
    call unavailable
    ret

arithmetic:
    fld1
    fild word ptr [three]
    fdivp
    observe_double third
    fild dword ptr [two]
    fsqrt
    observe_extended root
    fild qword ptr [big]
    observe_extended integer
    fild qword ptr [big]
    fistp qword ptr [image]
    observe64 integer.back, "qword ptr [image]"
    fld qword ptr [minus_half]
    fchs
    fadd dword ptr [quarter]
    fmul st, st(0)
    observe_single squares
    fbld [decimal]
    fld st(0)
    fistp qword ptr [image]
    observe64 decimal, "qword ptr [image]"
    fchs
    fbstp [image]
    observe64 decimal.back, "qword ptr [image]"
    movzx eax, word ptr [image + 8]
    observe64 decimal.sign, rax
    # Remainders: truncated, and to the nearest; the low bits of the quotient are in C0, C3, C1.
    fild word ptr [five]
    fild word ptr [hundred_and_three]
    fprem
    fnstsw ax
    and eax, 0x4700
    observe64 remainder.quotient, rax
    fistp dword ptr [image]
    mov eax, [image]
    observe64 remainder, rax
    fild word ptr [hundred_and_three]
    fprem1
    fnstsw ax
    and eax, 0x4700
    observe64 remainder1.quotient, rax
    fistp dword ptr [image]
    mov eax, [image]
    observe64 remainder1, rax
    fstp st(0)
    # Scale and its inverse.
    fild word ptr [five]
    fld qword ptr [one_and_half]
    fscale
    fxtract
    fistp dword ptr [image]     # the significand 1.5, to even
    mov eax, [image]
    observe64 significand, rax
    fistp dword ptr [image]
    mov eax, [image]
    observe64 exponent, rax
    fstp st(0)
    # Exact cases of the transcendental ones.
    fild word ptr [five]
    fild dword ptr [two]
    fyl2x
    observe_double logarithm
    fld1
    f2xm1
    observe_double power
    fldz
    fsin
    observe_double sine
    fldz
    fld1
    fpatan
    observe_double arc
    fldpi
    observe_extended pi
    fldl2e
    observe_extended log2e
    # Exchange, conditional move, rotation of the stack.
    fld1
    fldz
    fxch
    stc
    fcmovb st, st(1)
    observe_double moved
    fincstp
    fdecstp
    fstp st(0)
    ret

rounding:
    lea rbx, [modes]
    xor ebp, ebp
1:  movzx eax, word ptr [rbx]
    mov [word0], ax
    fldcw [word0]
    shl rbp, 4
    fld qword ptr [two_and_half]
    fistp dword ptr [image]
    or ebp, [image]
    shl rbp, 4
    fld qword ptr [two_and_half]
    fchs
    frndint
    fabs
    fistp dword ptr [image]
    or ebp, [image]
    add rbx, 2
    cmp word ptr [rbx], 0
    jne 1b
    observe64 rounded, rbp
    # Constants are rounded too.
    control 0x077f
    fldpi
    observe_extended pi.down
    control 0x0b7f
    fldpi
    observe_extended pi.up
    # Precision: 24, 53 and 64 bits.
    control 0x007f
    fld1
    fild word ptr [three]
    fdivp
    observe_extended single
    control 0x027f
    fld1
    fild word ptr [three]
    fdivp
    observe_extended double
    control 0x037f
    # A narrower store says which way it went by C1.
    fld1
    fild word ptr [three]
    fdivp
    fstp dword ptr [image]
    observe_status narrowed, 0x0220
    fnclex
    # Towards zero.
    control 0x0f7f
    fld qword ptr [minus_half]
    fistp word ptr [image]
    movzx eax, word ptr [image]
    observe64 truncated, rax
    control 0x037f
    fnclex
    ret

comparison:
    fld1
    fild dword ptr [two]
    fcom st(1)
    observe_status greater, 0x4500
    fxch
    fcom st(1)
    observe_status less, 0x4500
    fcom st(0)
    observe_status equal, 0x4500
    fcomi st, st(1)
    pushfq
    pop rax
    and eax, 0x45
    observe64 flags.less, rax
    fld qword ptr [quiet]
    fucomi st, st(1)
    pushfq
    pop rax
    and eax, 0x45
    observe64 flags.unordered, rax
    observe_status unordered.quiet, 0x3f
    fcomi st, st(1)
    observe_status unordered.ordered, 0x3f
    fnclex
    fcompp
    fstp st(0)
    fnclex
    ftst
    observe_status test_empty, 0x4541
    fninit
    fldz
    fchs
    ftst
    observe_status test_zero, 0x4500
    fstp st(0)
    ret

# FXAM of each class: C3, C2, C1 (the sign), C0.
classes:
    xor ebp, ebp
    mov ebx, offset samples
1:  fld tbyte ptr [rbx]
    fxam
    fnstsw ax
    fstp st(0)
    shr eax, 8
    and eax, 0x47
    mov ecx, eax
    shr ecx, 3
    and eax, 7
    or eax, ecx                 # C3 C2 C1 C0 in four bits
    shl rbp, 4
    or rbp, rax
    add rbx, 10
    cmp rbx, offset samples_end
    jb 1b
    fxam
    fnstsw ax
    and eax, 0x4500
    observe64 classes, rbp
    observe64 class_empty, rax
    fnclex
    ret

stack_faults:
    fninit
    fld st(0)                   # of an empty register
    observe_status underflow, 0x3a7f
    observe_extended underflow.value
    fninit
    mov ecx, 8
1:  fld1
    dec ecx
    jnz 1b
    fld1
    observe_status overflow, 0x3a7f
    observe_extended overflow.value
    fninit
    ret

masked:
    fld1
    fldz
    fdivp
    observe_status by_zero, 0x3f
    observe_double by_zero.value
    fnclex
    fldz
    fldz
    fdivp
    observe_status invalid, 0x3f
    observe_double invalid.value
    fnclex
    fld dword ptr [signalling]
    observe_status signalling, 0x3f
    observe_single signalling.value
    fnclex
    fld dword ptr [denormal]
    observe_status denormal, 0x3f
    observe_double denormal.value
    fnclex
    fld tbyte ptr [largest]
    fadd st, st(0)
    observe_status overflows, 0x3f
    observe_extended overflows.value
    fnclex
    fld tbyte ptr [smallest]
    fmul dword ptr [tenth]
    observe_status underflows, 0x3f
    observe_extended underflows.value
    fnclex
    fld qword ptr [huge]
    fistp dword ptr [image]
    mov eax, [image]
    observe_status store, 0x3f
    mov eax, [image]
    observe64 store.value, rax
    fnclex
    ret

# #MF comes at the next instruction that waits; those that do not wait go by.
unmasked:
    control 0x037b              # division by zero
    attempt64
    fld1
    fldz
    fdiv st(1), st              # stays as it was
    fnstsw ax
    mov ebx, eax
    fnstcw [word0]
    mov ebp, 1
    fwait
    mov ebp, 2
    attempted64 waited
    observe64 waited.place, rbp
    and ebx, 0xbfff
    observe64 waited.status, rbx
    fnclex
    fstp st(0)
    observe_double waited.kept
    fninit
    control 0x037e              # invalid operation
    attempt64
    fldz
    fldz
    fdivp
    fld1
    attempted64 next_operation
    fnclex
    fninit
    # An exception that is unmasked later is pending at once.
    fldz
    fld1
    fdivrp
    attempt64
    control 0x037b
    fldz
    attempted64 unmasked_later
    fnclex
    fninit
    ret

environment:
    fld1
    fldz
    fld qword ptr [quiet]
    fld tbyte ptr [smallest]
    fstp st(1)
    control 0x0c7f
    fnsave [image]              # which initialises
    movzx eax, word ptr [image]
    observe64 saved.control, rax
    movzx eax, word ptr [image + 4]
    and eax, 0x3f3f
    observe64 saved.status, rax
    movzx eax, word ptr [image + 8]
    observe64 saved.tags, rax
    fnstcw [word0]
    movzx eax, word ptr [word0]
    observe64 saved.now, rax
    frstor [image]
    observe_extended restored.first
    observe_double restored.second
    observe_double restored.third
    # The environment alone, changed: the tags say what is empty.
    fninit
    fld1
    fnstenv [image]
    mov word ptr [image + 8], 0xffff
    fldenv [image]
    fxam
    observe_status emptied, 0x4500
    fninit
    # Free.
    fld1
    ffree st(0)
    fxam
    observe_status freed, 0x4500
    fninit
    ret

mmx:
    movq mm0, [bytes]
    movq mm1, [bytes + 8]
    movq mm2, mm0
    paddb mm2, mm1
    movq rax, mm2
    observe64 mmx.paddb, rax
    movq mm2, mm0
    paddusb mm2, mm1
    movq rax, mm2
    observe64 mmx.paddusb, rax
    movq mm2, mm0
    paddsw mm2, mm1
    movq rax, mm2
    observe64 mmx.paddsw, rax
    movq mm2, mm0
    psubusw mm2, mm1
    movq rax, mm2
    observe64 mmx.psubusw, rax
    movq mm2, mm0
    pmaddwd mm2, mm1
    movq rax, mm2
    observe64 mmx.pmaddwd, rax
    movq mm2, mm0
    pmulhw mm2, mm1
    movq rax, mm2
    observe64 mmx.pmulhw, rax
    movq mm2, mm0
    pcmpgtb mm2, mm1
    movq rax, mm2
    observe64 mmx.pcmpgtb, rax
    movq mm2, mm0
    packsswb mm2, mm1
    movq rax, mm2
    observe64 mmx.packsswb, rax
    movq mm2, mm0
    packuswb mm2, mm1
    movq rax, mm2
    observe64 mmx.packuswb, rax
    movq mm2, mm0
    punpcklbw mm2, mm1
    movq rax, mm2
    observe64 mmx.punpcklbw, rax
    movq mm2, mm0
    punpckhwd mm2, mm1
    movq rax, mm2
    observe64 mmx.punpckhwd, rax
    movq mm2, mm0
    psraw mm2, 3
    pxor mm2, mm1
    pandn mm2, mm0
    movq rax, mm2
    observe64 mmx.logic, rax
    mov eax, 70
    movd mm3, eax
    psllq mm0, mm3
    movq rax, mm0
    observe64 mmx.shifted_out, rax
    # The FPU sees them: exponent of ones, everything valid, top 0; EMMS empties all.
    movq mm7, mm1
    fnstenv [image]
    movzx eax, word ptr [image + 8]
    observe64 mmx.tags, rax
    movzx eax, word ptr [image + 4]
    and eax, 0x3800
    observe64 mmx.top, rax
    fldenv [image]
    fincstp
    fstp tbyte ptr [image]
    movzx eax, word ptr [image + 8]
    observe64 mmx.exponent, rax
    observe64 mmx.mantissa, "qword ptr [image]"
    emms
    fnstenv [image]
    movzx eax, word ptr [image + 8]
    observe64 mmx.emms, rax
    fninit
    # FPU values as MMX sees them.
    fldpi
    movq rax, mm7
    observe64 mmx.pi, rax
    emms
    ret

# Without the device: #NM. CR0.TS holds off MMX and WAIT (with MP) too.
unavailable:
    mov rax, cr0
    or eax, 8
    mov cr0, rax
    attempt64
    fld1
    attempted64 task_switched
    attempt64
    fwait
    attempted64 task_switched.wait
    attempt64
    pxor mm0, mm0
    attempted64 task_switched.mmx
    clts
    mov rax, cr0
    or eax, 4
    mov cr0, rax
    attempt64
    fld1
    attempted64 emulated
    attempt64
    pxor mm0, mm0
    attempted64 emulated.mmx
    mov rax, cr0
    and eax, ~4
    mov cr0, rax
    attempt64
    fninit
    attempted64 available
    ret

.data
.balign 16
image: .skip 128
word0: .quad 0
big: .quad 0x7ffffffffffffffe
minus_half: .double -0.5
quarter: .single 0.25
two: .long 2
three: .word 3
five: .word 5
hundred_and_three: .word 103
modes: .word 0x037f, 0x077f, 0x0b7f, 0x0f7f, 0
.balign 8
one_and_half: .double 1.5
two_and_half: .double 2.5
huge: .double 1e300
quiet: .quad 0x7ff8000000000000
signalling: .long 0x7fa00000
denormal: .long 0x00000001
tenth: .single 0.125
decimal: .byte 0x89, 0x67, 0x45, 0x23, 0x01, 0, 0, 0, 0, 0
largest: .quad 0xffffffffffffffff
    .word 0x7ffe
smallest: .quad 0x8000000000000001
    .word 0x0001
samples:
    .quad 0                     # zero
    .word 0
    .quad 0                     # minus zero
    .word 0x8000
    .quad 0x8000000000000000    # one
    .word 0x3fff
    .quad 0x8000000000000000    # minus infinity
    .word 0xffff
    .quad 0xc000000000000000    # not a number
    .word 0x7fff
    .quad 1                     # denormal
    .word 0
    .quad 1                     # unsupported: a normal number without its leading one
    .word 0x3fff
samples_end:
.balign 8
bytes: .quad 0x8001ff7f7fff1234, 0x70ff01ff80017ffe
.text
