# Real mode: segment arithmetic, the interrupt vector table, 16-bit addressing, string and decimal instructions, and the way
# there from protected mode and back.
#
# The real-mode code is copied to 0x8000 and runs with CS = DS = ES = SS = 0x800. It notes 32-bit results one after
# the other; protected mode prints them.

.include "runtime32.inc"

.equ LOW, 0x8000
.equ LOW_SEGMENT, 0x800
.equ RESULTS, 0x4000            # offset in the low segment
.equ STACK, 0x7f00
.equ BUFFER, 0x6000

.set notes, 0
# Notes EAX under a name.
.macro note name
    .pushsection .rodata.names, "a"
    .asciz "\name\()="
    .popsection
    mov [notes + RESULTS], eax
    .set notes, notes + 4
.endm
# Notes a 16-bit register.
.macro note16 name, register
    movzx eax, \register
    note \name
.endm
# Notes the arithmetic flags.
.macro note_flags name, mask
    pushf
    pop ax
    and eax, \mask
    note \name
.endm

main:
    mov esi, offset low_code
    mov edi, LOW
    mov ecx, offset low_end - low_code
    rep movsb
    mov [saved_stack], esp
    lidt [real_idt_pointer]
    ljmp CODE16, offset LOW + to_real - low_code

.code16
low_code:
to_real:
    mov ax, DATA16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    ljmp LOW_SEGMENT, offset 1f - low_code
1:  mov ax, LOW_SEGMENT
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, STACK
    cld

    mov eax, cr0
    and eax, 1
    note protection_enabled

    # Addressing: base, index, displacement, all wrapping at 64 KiB.
    mov dword ptr [0x5000], 0x89abcdef
    mov bx, 0x4ff0
    mov si, 0x10
    mov ax, [bx + si]
    note16 bx_si, ax
    mov bx, 0xf000
    mov si, 0x6000
    mov ax, [bx + si + 2]
    note16 wrapped, ax
    mov bp, 0x5000
    mov ax, ds:[bp + 1]
    note16 bp_with_ds, ax
    # SS is the default with BP: give it another base.
    mov ax, LOW_SEGMENT + 1
    mov ss, ax
    mov ax, [bp - 0x10]
    mov cx, LOW_SEGMENT
    mov ss, cx
    note16 bp_with_ss, ax
    mov eax, 0x5000
    mov ax, [eax]
    note16 address32, ax
    mov ecx, 2
    mov eax, 0x4ffc
    mov edx, [eax + ecx * 2]
    mov eax, edx
    note scaled_index

    # Interrupts through the table at 0.
    push ds
    xor ax, ax
    mov ds, ax
    mov word ptr [0x60 * 4], offset service - low_code
    mov word ptr [0x60 * 4 + 2], LOW_SEGMENT
    mov word ptr [0], offset divide - low_code
    mov word ptr [2], LOW_SEGMENT
    mov word ptr [13 * 4], offset protection - low_code
    mov word ptr [13 * 4 + 2], LOW_SEGMENT
    mov word ptr [6 * 4], offset invalid - low_code
    mov word ptr [6 * 4 + 2], LOW_SEGMENT
    mov word ptr [3 * 4], offset service - low_code
    mov word ptr [3 * 4 + 2], LOW_SEGMENT
    pop ds
    xor dx, dx
    stc
    int 0x60
    note_flags carry_after_iret, 1
    note16 service_calls, dx
    int3
    note16 breakpoint_calls, dx
    xor cx, cx
    mov bx, 0
    mov ax, 100
    div bl
    note16 divide_errors, cx
    xor cx, cx
    mov bx, 0xffff
    mov ax, [bx]                # a word at offset 0xffff
    note16 limit_faults, cx
    xor cx, cx
    ud2
    note16 invalid_opcodes, cx

    # Decimal arithmetic.
    mov al, 0x79
    add al, 0x35
    daa
    pushf
    note16 daa, ax
    popf
    note_flags daa_flags, 0xd5
    mov al, 0x12
    sub al, 0x34
    das
    note16 das, ax
    mov ax, 0x0209
    add al, 8
    aaa
    note16 aaa, ax
    mov ax, 0x0203
    sub al, 8
    aas
    note16 aas, ax
    mov al, 97
    aam
    note16 aam, ax
    mov ax, 0x0307
    aad
    note16 aad, ax

    # Strings, both ways.
    mov di, BUFFER
    mov ax, 0x4142
    mov cx, 8
    rep stosw
    mov ax, di
    note16 stosw_di, ax
    mov byte ptr [BUFFER + 5], 0x5a
    mov di, BUFFER
    mov al, 0x5a
    mov cx, 16
    repne scasb
    mov ax, cx
    note16 scasb_left, ax
    std
    mov si, BUFFER + 7
    mov di, BUFFER + 15
    mov cx, 4
    rep movsb
    cld
    mov ax, si
    note16 movsb_down_si, ax
    mov si, BUFFER
    mov di, BUFFER + 8
    mov cx, 8
    repe cmpsb
    mov ax, cx
    note16 cmpsb_left, ax
    note_flags cmpsb_flags, 0xd5
    mov si, BUFFER + 4
    lodsd
    note lodsd
    mov bx, BUFFER
    mov al, 5
    xlatb
    note16 xlat, ax

    # Stack.
    mov ax, sp
    mov bp, ax
    push sp
    pop ax
    sub ax, bp
    note16 push_sp, ax
    enter 8, 0
    mov ax, bp
    sub ax, sp
    note16 enter_size, ax
    leave
    pusha
    mov ax, bp
    popa
    mov ax, sp
    note16 sp, ax
    mov cx, 3
    xor ax, ax
1:  add ax, cx
    loop 1b
    note16 loop_sum, ax
    xor cx, cx
    jcxz 1f
    mov ax, 0xbad
1:  note16 jcxz, ax
    lcall LOW_SEGMENT, offset far_routine - low_code
    note16 far_call, ax
    mov word ptr [0x5000], 0x1234
    mov word ptr [0x5002], 0x0900
    les bx, [0x5000]
    mov ax, es
    note16 les_segment, ax
    note16 les_offset, bx
    mov ax, LOW_SEGMENT
    mov es, ax
    mov ax, 0x8000
    mov dx, 1
    mov bx, 0x8001
    imul bx
    note16 imul_high, dx
    mov eax, 0x12345678
    shl eax, 4
    note shl32

    # Back to protected mode.
    cli
    .byte 0x66
    lgdt [gdt_low - low_code]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmpd CODE32, offset back

service:
    inc dx
    push bp
    mov bp, sp
    and word ptr [bp + 6], 0xfffe
    pop bp
    iret
divide:                         # the saved IP is the instruction's own: step over `div bl`
    inc cx
    push bp
    mov bp, sp
    add word ptr [bp + 2], 2
    pop bp
    iret
protection:
invalid:                        # likewise two bytes
    inc cx
    push bp
    mov bp, sp
    add word ptr [bp + 2], 2
    pop bp
    iret
far_routine:
    mov ax, cs
    lret

gdt_low:
    .word gdt_end - gdt - 1
    .long gdt
low_end:

.code32
back:
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, [saved_stack]
    lidt [idt_pointer]
    mov edi, offset names
    mov ebx, LOW + RESULTS
1:  mov esi, edi
    call put_string
    mov eax, [ebx]
    call put_hex
    mov al, 10
    call put_char
    add ebx, 4
2:  inc edi
    cmp byte ptr [edi - 1], 0
    jne 2b
    cmp ebx, LOW + RESULTS + notes
    jb 1b
    ret

.section .rodata.names, "a"
.data
.balign 4
saved_stack: .long 0
real_idt_pointer:
    .word 0x3ff
    .long 0
.section .rodata.names0, "a"
names:
