# Segmentation in 32-bit protected mode: call gates within and across privilege levels, conforming code, 16-bit code and stacks, a
# local descriptor table, what ring 3 may and may not do, and the instructions that ask about a selector. Intel SDM Vol. 3A
# chapter 5.

.include "runtime32.inc"

.equ CONFORMING, 0x78           # selectors in a table of the program's own
.equ GATE3, 0x80                # to ring 0 with two parameters, for everybody
.equ GATE0, 0x88                # the same, for ring 0 only, without parameters
.equ LOCAL, 0x90
.equ CODE16_HERE, 0x98
.equ STACK16, 0xa0
.equ GATE_ABSENT, 0xa8
.equ GATE_TO_DATA, 0xb0
.equ EXECUTE_ONLY, 0xb8

.macro descriptor selector, low, high
    mov dword ptr [table + \selector], \low
    mov dword ptr [table + \selector + 4], \high
.endm
# A call gate to a routine in a code segment.
.macro gate selector, code, routine, attributes
    mov eax, offset \routine
    mov edx, eax
    and eax, 0xffff
    or eax, \code << 16
    and edx, 0xffff0000
    or edx, \attributes
    mov [table + \selector], eax
    mov [table + \selector + 4], edx
.endm
# A 32-bit base in a descriptor that has its limit and attributes.
.macro base selector, address
    mov eax, offset \address
    mov word ptr [table + \selector + 2], ax
    shr eax, 16
    mov byte ptr [table + \selector + 4], al
    mov byte ptr [table + \selector + 7], ah
.endm
# What LAR, LSL, VERR and VERW say of a selector: in ring 3 there is nothing to print with, so it is noted.
.macro ask selector, place
    mov ecx, \selector
    xor eax, eax
    lar eax, ecx
    and eax, 0x00f0ff00         # the rest is undefined
    mov [asked + \place * 16], eax
    mov eax, -1
    lsl eax, ecx
    mov [asked + \place * 16 + 4], eax
    verr cx
    setz byte ptr [asked + \place * 16 + 8]
    verw cx
    setz byte ptr [asked + \place * 16 + 12]
.endm
.macro observe_asked name, place
    observe \name\().rights, "dword ptr [asked + \place * 16]"
    observe \name\().limit, "dword ptr [asked + \place * 16 + 4]"
    observe \name\().readable, "dword ptr [asked + \place * 16 + 8]"
    observe \name\().writable, "dword ptr [asked + \place * 16 + 12]"
.endm
# In ring 3: executes what follows up to `tried`, and notes vector and error code in one word.
.macro try
    mov dword ptr [caught_vector], -1
    mov dword ptr [caught_error], -1
    mov dword ptr [recover], offset 999f
.endm
.macro tried place
999:
    mov dword ptr [recover], 0
    mov eax, [caught_error]
    shl eax, 16
    mov ax, [caught_vector]
    mov [results + \place * 4], eax
.endm

main:
    mov esi, offset gdt
    mov edi, offset table
    mov ecx, (gdt_end - gdt) / 4
    rep movsd
    descriptor CONFORMING, 0x0000ffff, 0x00cf9f00
    gate GATE3, CODE32, through_gate, 0xec02
    gate GATE0, CODE32, within_ring, 0x8c00
    gate GATE_ABSENT, CODE32, within_ring, 0x6c00
    gate GATE_TO_DATA, DATA32, within_ring, 0x8c00
    descriptor LOCAL, 0x00000017, 0x00008200
    base LOCAL, local_table
    mov eax, offset first_words
    mov word ptr [local_table + 8 + 2], ax
    shr eax, 16
    mov byte ptr [local_table + 8 + 4], al
    descriptor CODE16_HERE, 0x0000ffff, 0x00009a00
    base CODE16_HERE, code16
    descriptor STACK16, 0x0000ffff, 0x00009200
    base STACK16, small_stack
    descriptor EXECUTE_ONLY, 0x0000ffff, 0x00cf9800
    lgdt [table_pointer]

    # Call gates within ring 0: the offset of the call is ignored.
    lcall GATE0, 0x12345678
    observe gate.within, eax
    attempt
    lcall GATE_ABSENT, 0
    attempted gate.absent
    attempt
    lcall GATE_TO_DATA, 0
    attempted gate.to_data
    attempt
    ljmp DATA32, 0
    attempted jump.to_data
    # Conforming code runs at the privilege of who calls it.
    lcall CONFORMING, offset own_level
    observe conforming.ring0, eax
    # Code that cannot be read.
    mov eax, EXECUTE_ONLY
    attempt
    mov fs, eax
    attempted load.execute_only

    # 16-bit code, called with a 32-bit return address; its own near calls push 16 bits.
    mov ebp, esp
    lcall CODE16_HERE, 0
    observe code16.pushed, eax
    sub ebp, esp
    observe code16.balance, ebp
    # A 16-bit stack uses SP: the upper half of ESP stays.
    mov ebp, esp
    mov eax, STACK16
    mov ss, eax
    mov esp, 0x12340002
    pushw 0x1122
    pushw 0x3344                # where SP has wrapped to
    mov ecx, esp
    mov eax, DATA32
    mov ss, eax
    mov esp, ebp
    observe stack16.esp, ecx
    movzx eax, word ptr [small_stack + 0xfffe]
    observe stack16.wrapped, eax

    # A local table: its first descriptor is one to use, its third is beyond its limit.
    mov eax, LOCAL
    lldt ax
    sldt ebx
    movzx ebx, bx
    observe local.selector, ebx
    mov eax, 0x0c
    mov fs, eax
    mov eax, fs:[0]
    observe local.read, eax
    attempt
    mov al, fs:[4]
    attempted local.beyond
    mov eax, 0x1c
    attempt
    mov fs, eax
    attempted local.no_descriptor
    attempt
    mov eax, DATA32
    lldt ax
    attempted local.not_a_table
    xor eax, eax
    lldt ax
    mov eax, 0x0c
    attempt
    mov fs, eax
    attempted local.none

    ask CODE32, 0
    observe_asked code, 0
    ask EXECUTE_ONLY, 0
    observe_asked execute_only, 0
    ask GATE3, 0
    observe_asked gate3, 0
    ask 0, 0
    observe_asked null, 0
    ask 0x7ff8, 0
    observe_asked outside, 0
    # ARPL raises a selector to the level of another.
    mov eax, 0x50
    mov ecx, 0x03
    arpl ax, cx
    setz cl
    observe arpl.raised, eax
    movzx ecx, cl
    observe arpl.changed, ecx

    call ring3
    ret

within_ring:
    mov eax, [esp + 4]          # CS to return to
    lret
own_level:
    mov eax, cs
    and eax, 3
    lret

# Ring 3's call: parameters were copied to the stack of ring 0.
through_gate:
    mov eax, [esp + 8]
    shl eax, 16
    mov ax, [esp + 12]
    mov [parameters], eax
    mov eax, cs
    shl eax, 16
    mov ax, ss
    mov [inner_segments], eax
    mov eax, [task_state + 4]
    sub eax, esp
    mov [inner_depth], eax
    mov eax, DATA32
    mov es, eax                 # which ring 3 may not keep
    lret 8

.code16
code16:
    mov ax, sp
    call 1f
1:  mov cx, sp
    sub ax, cx
    movzx eax, ax
    pop cx
    lretd
.code32

ring3:
    mov eax, offset task_state
    mov word ptr [table + TASK + 2], ax
    shr eax, 16
    mov byte ptr [table + TASK + 4], al
    mov byte ptr [table + TASK + 7], ah
    mov word ptr [table + TASK], 103
    mov byte ptr [table + TASK + 5], 0x89
    mov word ptr [task_state + 102], 104        # no I/O bitmap
    mov [kernel_stack], esp
    mov eax, esp
    sub eax, 512
    mov [task_state + 4], eax
    mov dword ptr [task_state + 8], DATA32
    mov eax, TASK
    ltr ax
    mov byte ptr [idt + 0x80 * 8 + 5], 0xee
    mov dword ptr [on_interrupt], offset from_ring3
    # By a far return, like from an inner level that was never entered.
    push USER_DATA
    push offset user_stack_top
    push USER_CODE32
    push offset 1f
    lret
1:  mov eax, USER_DATA
    mov ds, eax
    mov es, eax
    mov ebp, esp
    push 0x2222
    push 0x1111
    lcall GATE3 + 3, 0
    sub ebp, esp
    mov [outer_balance], ebp
    mov eax, es
    movzx eax, ax
    mov [outer_segment], eax
    mov eax, USER_DATA
    mov es, eax
    lcall CONFORMING + 3, offset own_level
    mov [conforming_level], eax
    try
    lcall GATE0 + 3, 0
    tried 0
    try
    lcall CODE32, offset own_level
    tried 1
    mov eax, DATA32
    try
    mov fs, eax
    tried 2
    mov eax, USER_DATA - 3      # its own privilege is lower than its selector's: allowed for data
    try
    mov fs, eax
    tried 3
    mov eax, USER_DATA - 3
    try
    mov ss, eax                 # but not for the stack
    tried 4
    try
    cli
    tried 5
    try
    in al, 0x80
    tried 6
    try
    mov eax, cr0
    tried 7
    try
    lgdt [table_pointer]
    tried 8
    try
    mov eax, dr7
    tried 9
    try
    int 0x21
    tried 10
    try
    rdmsr
    tried 11
    try
    invlpg [table]
    tried 12
    ask DATA32, 1
    ask USER_DATA, 2
    ask CONFORMING, 3
    pushfd                      # neither IF nor IOPL can be set
    or dword ptr [esp], 0x3200
    popfd
    pushfd
    pop eax
    and eax, 0x3200
    mov [outer_flags], eax
    int 0x80
from_ring3:
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    mov esp, [kernel_stack]
    observe gate.parameters, "dword ptr [parameters]"
    observe gate.inner, "dword ptr [inner_segments]"
    observe gate.depth, "dword ptr [inner_depth]"
    observe gate.balance, "dword ptr [outer_balance]"
    observe gate.lost_segment, "dword ptr [outer_segment]"
    observe conforming.ring3, "dword ptr [conforming_level]"
    observe flags, "dword ptr [outer_flags]"
    observe refused.gate, "dword ptr [results]"
    observe refused.call, "dword ptr [results + 4]"
    observe refused.data, "dword ptr [results + 8]"
    observe allowed.data, "dword ptr [results + 12]"
    observe refused.stack, "dword ptr [results + 16]"
    observe refused.cli, "dword ptr [results + 20]"
    observe refused.in, "dword ptr [results + 24]"
    observe refused.cr, "dword ptr [results + 28]"
    observe refused.lgdt, "dword ptr [results + 32]"
    observe refused.dr, "dword ptr [results + 36]"
    observe refused.int, "dword ptr [results + 40]"
    observe refused.rdmsr, "dword ptr [results + 44]"
    observe refused.invlpg, "dword ptr [results + 48]"
    observe_asked ring3.kernel, 1
    observe_asked ring3.user, 2
    observe_asked ring3.conforming, 3
    ret

.data
.balign 8
table_pointer:
    .word 24 * 8 - 1
    .long table
.balign 8
local_table: .quad 0
    .quad 0x0040920000000003    # four bytes, writable
    .quad 0
first_words: .long 0x600df00d, 0xbad
kernel_stack: .long 0
parameters: .long 0
inner_segments: .long 0
inner_depth: .long 0
outer_balance: .long 0
outer_segment: .long 0
outer_flags: .long 0
conforming_level: .long 0
results: .skip 64
asked: .skip 64
.balign 128
task_state: .skip 104
.bss
.balign 16
table: .skip 24 * 8
small_stack: .skip 0x10004
    .skip 4096
user_stack_top:
