# SSE and SSE2: arithmetic, rounding and flags by MXCSR, conversions, comparisons, integers, loads and stores of each kind, masked
# and unmasked exceptions (#XM), alignment, FXSAVE and FXRSTOR, and what makes the instructions unavailable. Intel SDM Vol. 1
# chapters 10 and 11, Vol. 3A chapter 14. Nothing later than SSE2, and no approximations, which every processor makes its own way.

.include "runtime64.inc"

.macro observe_xmm name, register
    movdqa [image], \register
    observe64 "\name\().high", "qword ptr [image + 8]"
    observe64 \name, "qword ptr [image]"
.endm
.macro control value
    mov dword ptr [word0], \value
    ldmxcsr [word0]
.endm
# The exceptions that were noted since the last `control`.
.macro observe_exceptions name
    stmxcsr [word0]
    mov eax, [word0]
    and eax, 0x3f
    observe64 \name, rax
.endm

main64:
    control 0x1f80
    stmxcsr [word0]
    mov eax, [word0]
    observe64 mxcsr, rax
    call single
    call double
    call rounding
    call conversions
    call comparisons
    call integers
    call moves
    call exceptions
    call faults
    call saved
    call unavailable
    ret

single:
    movaps xmm0, [singles]
    movaps xmm1, [singles + 16]
    movaps xmm2, xmm0
    addps xmm2, xmm1
    observe_xmm addps, xmm2
    movaps xmm2, xmm0
    divps xmm2, xmm1
    observe_xmm divps, xmm2
    movaps xmm2, xmm0
    mulss xmm2, xmm1
    subss xmm2, xmm0
    observe_xmm scalar, xmm2
    sqrtps xmm2, xmm0
    observe_xmm sqrtps, xmm2
    # The second operand, if either is not a number or both are zero.
    movaps xmm3, [special]
    movaps xmm4, [special + 16]
    movaps xmm2, xmm3
    minps xmm2, xmm4
    observe_xmm minps, xmm2
    movaps xmm2, xmm3
    maxps xmm2, xmm4
    observe_xmm maxps, xmm2
    # Which not-a-number comes out: the first operand, made quiet.
    movaps xmm2, [special + 32]
    addps xmm2, [special + 48]
    observe_xmm propagated, xmm2
    movaps xmm2, xmm0
    andps xmm2, xmm1
    orps xmm2, [special]
    xorps xmm2, xmm0
    andnps xmm2, xmm1
    observe_xmm logic, xmm2
    movaps xmm2, xmm0
    shufps xmm2, xmm1, 0x1b
    observe_xmm shufps, xmm2
    movaps xmm2, xmm0
    unpcklps xmm2, xmm1
    observe_xmm unpcklps, xmm2
    movmskps eax, xmm0
    observe64 movmskps, rax
    ret

double:
    movapd xmm0, [doubles]
    movapd xmm1, [doubles + 16]
    movapd xmm2, xmm0
    divpd xmm2, xmm1
    observe_xmm divpd, xmm2
    movapd xmm2, xmm0
    mulpd xmm2, xmm1
    subpd xmm2, xmm0
    observe_xmm subpd, xmm2
    sqrtpd xmm2, xmm1
    observe_xmm sqrtpd, xmm2
    movapd xmm2, xmm0
    addsd xmm2, [doubles + 24]
    maxsd xmm2, xmm1
    observe_xmm scalar2, xmm2
    movapd xmm2, xmm0
    shufpd xmm2, xmm1, 1
    unpckhpd xmm2, xmm0
    observe_xmm shuffled, xmm2
    movmskpd eax, xmm0
    observe64 movmskpd, rax
    ret

rounding:
    xor ebp, ebp
    mov ebx, 0x1f80
1:  mov [word0], ebx
    ldmxcsr [word0]
    cvtsd2si eax, [two_and_half]
    shl rbp, 4
    or rbp, rax
    cvtsd2si eax, [minus_two_and_half]
    neg eax
    shl rbp, 4
    or rbp, rax
    cvttsd2si eax, [two_and_half]
    shl rbp, 4
    or rbp, rax
    movss xmm0, [one]
    divss xmm0, [three]
    movd eax, xmm0
    and eax, 15
    shl rbp, 4
    or rbp, rax
    add ebx, 0x2000
    cmp ebx, 0x9f80
    jb 1b
    observe64 rounded, rbp
    control 0x1f80
    # Flush to zero: a tiny result becomes zero, with its sign.
    control 0x9f80
    movss xmm0, [tiny]
    mulss xmm0, [minus_half]
    movd eax, xmm0
    observe_exceptions flushed.exceptions
    movd eax, xmm0
    observe64 flushed, rax
    control 0x1f80
    movss xmm0, [tiny]
    mulss xmm0, [minus_half]
    observe_exceptions kept.exceptions
    movd eax, xmm0
    observe64 kept, rax
    control 0x1f80
    ret

conversions:
    cvtsi2ss xmm0, dword ptr [integers_in]
    movd eax, xmm0
    observe64 cvtsi2ss, rax
    mov rax, 0x7fffffffffffffff
    cvtsi2sd xmm0, rax
    movq rax, xmm0
    observe64 cvtsi2sd, rax
    observe_exceptions inexact
    control 0x1f80
    cvtsd2ss xmm0, [doubles]
    movd eax, xmm0
    observe64 cvtsd2ss, rax
    cvtss2sd xmm0, [subnormal]
    movq rax, xmm0
    observe64 cvtss2sd, rax
    observe_exceptions denormal
    control 0x1f80
    cvttss2si eax, [large]
    observe64 too_large, rax
    cvttss2si rax, [large]
    observe64 large_enough, rax
    observe_exceptions invalid
    control 0x1f80
    cvtdq2ps xmm0, [integers_in]
    observe_xmm cvtdq2ps, xmm0
    cvtps2dq xmm0, [singles]
    observe_xmm cvtps2dq, xmm0
    cvttpd2dq xmm0, [doubles]
    observe_xmm cvttpd2dq, xmm0
    cvtdq2pd xmm0, [integers_in]
    observe_xmm cvtdq2pd, xmm0
    cvtpd2ps xmm0, [doubles]
    observe_xmm cvtpd2ps, xmm0
    cvtps2pd xmm0, [singles]
    observe_xmm cvtps2pd, xmm0
    movaps xmm1, [singles]
    cvtps2pi mm0, xmm1
    movq rax, mm0
    emms
    observe64 cvtps2pi, rax
    movq mm0, [integers_in]
    cvtpi2pd xmm1, mm0
    emms
    observe_xmm cvtpi2pd, xmm1
    control 0x1f80
    ret

comparisons:
    # Each of the eight predicates, on less, equal, greater, unordered: a bit each.
    xor ebp, ebp
    .irp predicate, 7, 6, 5, 4, 3, 2, 1, 0
    movaps xmm0, [compared]
    cmpps xmm0, [compared + 16], \predicate
    movmskps eax, xmm0
    shl rbp, 4
    or rbp, rax
    .endr
    observe64 predicates, rbp
    observe_exceptions predicates.exceptions
    control 0x1f80
    movaps xmm0, [compared]
    movaps xmm1, [compared + 16]
    xor ebp, ebp
    mov ecx, 4
1:  ucomiss xmm0, xmm1
    pushfq
    pop rax
    and eax, 0x8d5
    shl rbp, 16
    or rbp, rax
    shufps xmm0, xmm0, 0x39
    shufps xmm1, xmm1, 0x39
    dec ecx
    jnz 1b
    observe64 ucomiss, rbp
    observe_exceptions quiet.exceptions
    shufps xmm0, xmm0, 0x93
    shufps xmm1, xmm1, 0x93
    comiss xmm0, xmm1
    observe_exceptions comiss.exceptions
    control 0x1f80
    ret

integers:
    movdqa xmm0, [numbers]
    movdqa xmm1, [numbers + 16]
    .irp operation, paddb, paddusw, psubsb, pmullw, pmulhuw, pmaddwd, pmuludq, psadbw, pavgb, pmaxub, pminsw, pcmpeqw, pcmpgtd, packssdw, packuswb, punpckhbw, punpcklqdq, paddq, psubq, pandn
    movdqa xmm2, xmm0
    \operation xmm2, xmm1
    observe_xmm \operation, xmm2
    .endr
    movdqa xmm2, xmm0
    psllw xmm2, 3
    psrad xmm2, 5
    psrlq xmm2, 7
    observe_xmm shifted, xmm2
    movdqa xmm2, xmm0
    pslldq xmm2, 3
    psrldq xmm2, 5
    observe_xmm shifted_bytes, xmm2
    movdqa xmm2, xmm0
    mov eax, 64
    movd xmm3, eax
    psrlq xmm2, xmm3
    observe_xmm shifted_out, xmm2
    pshufd xmm2, xmm0, 0x4e
    pshuflw xmm2, xmm2, 0x1b
    pshufhw xmm2, xmm2, 0xb1
    observe_xmm shuffled_words, xmm2
    pextrw eax, xmm0, 5
    pinsrw xmm2, eax, 2
    observe_xmm inserted, xmm2
    pmovmskb eax, xmm0
    observe64 pmovmskb, rax
    ret

moves:
    movdqu xmm0, [numbers + 3]
    observe_xmm movdqu, xmm0
    movups [image + 17], xmm0
    observe64 movups, "qword ptr [image + 25]"
    movlps xmm0, [numbers]
    movhps xmm0, [numbers + 24]
    observe_xmm halves, xmm0
    movhlps xmm1, xmm0
    movlhps xmm1, xmm1
    observe_xmm halves.moved, xmm1
    movss xmm1, [one]           # clears the rest
    observe_xmm movss.memory, xmm1
    movss xmm0, xmm1            # keeps it
    observe_xmm movss.register, xmm0
    movsd xmm1, [two_and_half]
    movsd xmm0, xmm1
    observe_xmm movsd, xmm0
    movq xmm0, xmm0
    observe_xmm movq, xmm0
    movntdq [image + 32], xmm0
    mov eax, 0x1234
    movnti [image + 48], eax
    sfence
    observe64 not_temporal, "qword ptr [image + 32]"
    mov rax, -1
    mov [image + 64], rax
    mov [image + 72], rax
    movdqa xmm0, [numbers]
    movdqa xmm1, [numbers + 16]
    mov edi, offset image + 64
    maskmovdqu xmm0, xmm1
    sfence
    observe64 masked_move, "qword ptr [image + 64]"
    observe64 masked_move.high, "qword ptr [image + 72]"
    ret

exceptions:
    control 0x1f80
    movaps xmm0, [singles]
    divps xmm0, [special]       # zero among them
    observe_exceptions masked.division
    control 0x1f80
    movss xmm0, [largest]
    mulss xmm0, [largest]
    observe_exceptions masked.overflow
    movd eax, xmm0
    observe64 masked.overflow.value, rax
    control 0x1f80
    sqrtss xmm0, [minus_half]
    observe_exceptions masked.root
    movd eax, xmm0
    observe64 masked.root.value, rax
    # Unmasked: #XM at the instruction, whose destination stays as it was.
    control 0x1d80              # division by zero
    movaps xmm0, [singles]
    movaps xmm1, xmm0
    attempt64
    divps xmm0, [special]
    attempted64 unmasked
    observe_exceptions unmasked.exceptions
    control 0x1f80
    pcmpeqd xmm0, xmm1
    observe_xmm unmasked.kept, xmm0
    control 0x1f00              # invalid operation
    attempt64
    cvttss2si eax, [large]
    attempted64 unmasked.conversion
    control 0x0f80              # precision: the masked ones are noted with it
    attempt64
    movss xmm0, [largest]
    mulss xmm0, [largest]
    attempted64 unmasked.precision
    observe_exceptions unmasked.precision.exceptions
    # A flag that is set already faults nothing when it is unmasked.
    control 0x0fbf
    attempt64
    movss xmm0, [one]
    addss xmm0, xmm0
    attempted64 flag_alone
    control 0x1f80
    ret

faults:
    attempt64
    movaps xmm0, [numbers + 8]
    attempted64 misaligned
    attempt64
    addps xmm0, [numbers + 4]
    attempted64 misaligned.operand
    attempt64
    movntps [image + 8], xmm0
    attempted64 misaligned.store
    attempt64
    movsd xmm0, [numbers + 3]
    attempted64 scalar_anywhere
    mov dword ptr [word0], 0x00011f80
    attempt64
    ldmxcsr [word0]
    attempted64 reserved_bit
    ret

saved:
    fninit
    fld1
    fldpi
    movdqa xmm0, [numbers]
    movdqa xmm15, [numbers + 16]
    control 0x3fa1
    fxsave64 [area]
    fninit
    control 0x1f80
    pxor xmm0, xmm0
    pxor xmm15, xmm15
    movzx eax, word ptr [area]
    observe64 area.control, rax
    movzx eax, word ptr [area + 2]
    observe64 area.status, rax
    movzx eax, word ptr [area + 4]
    observe64 area.tags, rax
    mov eax, [area + 24]
    observe64 area.mxcsr, rax
    observe64 area.st0, "qword ptr [area + 32]"
    observe64 area.st1, "qword ptr [area + 48]"
    observe64 area.xmm0, "qword ptr [area + 160]"
    observe64 area.xmm15, "qword ptr [area + 400]"
    mov dword ptr [area + 416], 0x1234567       # for software
    fxrstor64 [area]
    observe_exceptions restored.exceptions
    observe_xmm restored.xmm0, xmm0
    observe_xmm restored.xmm15, xmm15
    fstp tbyte ptr [image]
    observe64 restored.st0, "qword ptr [image]"
    fstp qword ptr [image]
    observe64 restored.st1, "qword ptr [image]"
    mov eax, [area + 416]
    observe64 area.software, rax
    or dword ptr [area + 24], 0x10000
    attempt64
    fxrstor64 [area]
    attempted64 restored.reserved_bit
    attempt64
    fxsave64 [area + 8]
    attempted64 saved.misaligned
    control 0x1f80
    fninit
    ret

# #UD without CR4.OSFXSR or with CR0.EM, #NM with CR0.TS; #XM becomes #UD without CR4.OSXMMEXCPT.
unavailable:
    mov rax, cr4
    and eax, ~0x200
    mov cr4, rax
    attempt64
    xorps xmm0, xmm0
    attempted64 not_enabled
    mov rbx, cr4
    or ebx, 0x200
    and ebx, ~0x400
    mov cr4, rbx
    control 0x1d80
    attempt64
    movaps xmm0, [singles]
    divps xmm0, [special]
    attempted64 not_reported
    control 0x1f80
    or ebx, 0x400
    mov cr4, rbx
    mov rax, cr0
    or eax, 8
    mov cr0, rax
    attempt64
    xorps xmm0, xmm0
    attempted64 task_switched
    clts
    mov rax, cr0
    or eax, 4
    mov cr0, rax
    attempt64
    xorps xmm0, xmm0
    attempted64 emulated
    mov rax, cr0
    and eax, ~4
    mov cr0, rax
    ret

.data
.balign 16
image: .skip 128
word0: .quad 0
.balign 16
singles: .single 1.5, -2.25, 1e10, 0.1
    .single 3.0, 0.5, -7.0, 1e-3
special: .long 0x80000000, 0x7fc00000, 0x3f800000, 0xff800000
    .long 0x00000000, 0x3f800000, 0x7fc00000, 0x7f800000
    .long 0x7fa00001, 0x3f800000, 0x7fc00002, 0x7f800000
    .long 0x7fc00003, 0xffa00004, 0x7fc00005, 0xff800000
compared: .long 0x3f800000, 0x40000000, 0x40400000, 0x7fc00000
    .long 0x40000000, 0x40000000, 0x40000000, 0x40000000
doubles: .double 1.7, -1e20
    .double 3.0, 2.0
numbers: .quad 0x8001ff7f7fff1234, 0x70ff01ff80017ffe
    .quad 0x0102ff8080007fff, 0xff00ff0180018002
integers_in: .long 16777217, -5, 2147483647, 0
two_and_half: .double 2.5
minus_two_and_half: .double -2.5
one: .single 1.0
three: .single 3.0
tiny: .long 0x00800001
subnormal: .long 0x00000003
minus_half: .single -0.5
large: .single 3e9
largest: .long 0x7f7fffff
.balign 16
area: .skip 528
.text
