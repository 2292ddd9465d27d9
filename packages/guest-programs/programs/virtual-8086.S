# Virtual-8086 mode: entered and left by IRET and interrupts, addresses as in real mode, what is trapped for the monitor and what is
# not, with IOPL 0 and 3, the I/O permission bitmap, and paging underneath. Intel SDM Vol. 3B chapter 21.
#
# Each piece of 16-bit code runs until something brings it to the monitor, which notes vector, error code, IP relative to the piece,
# and registers.

.include "runtime32.inc"

.equ LOW, 0x9000                # where the pieces are copied to
.equ LOW_SEGMENT, 0x900
.equ STACK, 0x0f00              # offset in that segment
.equ VM, 0x20000

# Runs 16-bit code up to `leave`, with IOPL and more flags as given.
.macro enter flags
    mov dword ptr [entry_flags], VM + 2 + \flags
    mov esi, offset 901f
    mov ecx, offset 902f - 901f
    call run
    jmp 902f
901:
    .code16
.endm
.macro leave name
    .code32
902:
    observe \name, "dword ptr [left_vector]"
    observe \name\().error, "dword ptr [left_error]"
    observe \name\().at, "dword ptr [left_at]"
.endm

main:
    # Low memory one to one for ring 3, but for one page at 0x30000.
    mov dword ptr [directory], 0x87
    mov eax, offset first_table + 7
    mov [directory], eax
    xor ecx, ecx
1:  mov eax, ecx
    shl eax, 12
    or eax, 7
    mov [first_table + ecx * 4], eax
    inc ecx
    cmp ecx, 1024
    jb 1b
    mov dword ptr [first_table + 0x30 * 4], 0
    mov eax, offset directory
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
    # The task state segment has an I/O bitmap that allows port 0x80 alone.
    mov edi, offset task_state + 104
    mov ecx, 32
    mov al, 0xff
    rep stosb
    mov byte ptr [task_state + 104 + 16], 0xfe
    mov word ptr [task_state + 102], 104
    mov dword ptr [task_state + 8], DATA32
    mov eax, offset task_state
    mov word ptr [gdt_task + 2], ax
    shr eax, 16
    mov byte ptr [gdt_task + 4], al
    mov byte ptr [gdt_task + 7], ah
    mov word ptr [gdt_task], 104 + 31
    mov byte ptr [gdt_task + 5], 0x89
    mov eax, TASK
    ltr ax
    .irp vector, 3, 6, 10, 12, 13, 14, 128
    mov eax, offset from_\vector
    mov word ptr [idt + \vector * 8], ax
    shr eax, 16
    mov word ptr [idt + \vector * 8 + 6], ax
    .endr
    mov byte ptr [idt + 0x80 * 8 + 5], 0xee
    mov byte ptr [idt + 3 * 8 + 5], 0xee

    # Segments are shifted left by four; all have a limit of 64 KiB.
    enter 0x3000
    mov ax, 0x1234
    mov es, ax
    mov word ptr es:[0x10], 0x5678
    mov ax, 0x1235
    mov es, ax
    mov bx, es:[0]
    mov cx, cs
    mov dx, ss
    mov ax, 0xffff
    mov es, ax
    mov si, es:[0x10]           # at 1 MiB: nothing wraps without A20's gate
    int 0x80
    leave segments
    observe segments.ebx, "dword ptr [left_ebx]"
    observe segments.ecx, "dword ptr [left_ecx]"
    observe segments.edx, "dword ptr [left_edx]"
    observe segments.flags, "dword ptr [left_flags]"
    mov eax, [0x100000]
    xor eax, [left_esi]
    movzx eax, ax
    observe segments.high_memory, eax
    # The interrupt pushed the segments and loaded null ones.
    observe pushed.es, "dword ptr [left_es]"
    observe inside.es, "dword ptr [inside_es]"

    enter 0x3000
    mov bx, 0xffff
    mov ax, [bx]
    int 0x80
    leave limit
    enter 0x3000
    mov ax, 0x3000
    mov ds, ax
    mov al, [0x123]
    leave page
    observe page.cr2, "dword ptr [left_cr2]"

    # With IOPL 3 the flags are the program's own.
    enter 0x3000
    sti
    pushf
    pop bx
    cli
    pushf
    pop cx
    push 0x7ed5
    popf
    pushf
    pop dx
    push 2
    popf
    int 0x80
    leave iopl3
    observe iopl3.set, "dword ptr [left_ebx]"
    observe iopl3.cleared, "dword ptr [left_ecx]"
    observe iopl3.popped, "dword ptr [left_edx]"
    # With less, everything that has to do with IF goes to the monitor.
    enter 0x0000
    cli
    leave iopl0.cli
    enter 0x0000
    sti
    leave iopl0.sti
    enter 0x0000
    pushf
    leave iopl0.pushf
    enter 0x0000
    nop
    popf
    leave iopl0.popf
    enter 0x0000
    iret
    leave iopl0.iret
    enter 0x0000
    int 0x80
    leave iopl0.int
    enter 0x0000
    int3                        # which is a trap of its own
    leave iopl0.int3

    # The bitmap decides on ports, whatever IOPL is.
    enter 0x3000
    mov al, 0
    out 0x80, al
    nop
    in al, 0x84
    leave ports
    enter 0x3000
    in ax, 0x80                 # two ports, of which one is not allowed
    leave ports.word

    # Privileged instructions, and those that real mode does not have.
    enter 0x3000
    hlt
    leave refused.hlt
    enter 0x3000
    mov eax, cr0
    leave refused.cr
    enter 0x3000
    .byte 0x0f, 0x00, 0xc8      # str eax
    leave refused.str
    enter 0x3000
    .byte 0x0f, 0x02, 0xc0      # lar ax, ax
    leave refused.lar
    enter 0x3000
    arpl ax, cx
    leave refused.arpl
    enter 0x3000
    smsw bx
    ljmp LOW_SEGMENT, 12        # far jumps, calls and returns load segments as in real mode
    nop
    nop
    nop
    nop
    int 0x80
    leave far
    mov eax, [left_ebx]
    and eax, 1
    observe far.protection, eax
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    ret

# Copies ECX bytes of 16-bit code from ESI, runs them, and notes where it left.
run:
    mov edi, LOW
    rep movsb
    mov [kernel_stack], esp
    mov [task_state + 4], esp
    push LOW_SEGMENT            # GS FS DS ES SS ESP EFLAGS CS EIP
    push LOW_SEGMENT
    push LOW_SEGMENT
    push LOW_SEGMENT
    push LOW_SEGMENT
    push STACK
    push [entry_flags]
    push LOW_SEGMENT
    push 0
    xor eax, eax
    xor ebx, ebx
    xor ecx, ecx
    xor edx, edx
    iretd

# One stub for each vector that comes up: those for which the processor pushes no error code, and those for which it does.
.irp vector, 3, 6, 128
from_\vector:
    push 0
    push \vector
    jmp monitor
.endr
.irp vector, 10, 12, 13, 14
from_\vector:
    push \vector
    jmp monitor
.endr

# The stack: vector, error code, EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS. DS is null here.
monitor:
    push eax
    mov eax, es
    push eax
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    pop [inside_es]
    pop eax
    mov [left_ebx], ebx
    mov [left_ecx], ecx
    mov [left_edx], edx
    mov [left_esi], esi
    pop [left_vector]
    pop [left_error]
    pop [left_at]
    mov eax, [esp + 4]
    mov [left_flags], eax
    mov eax, [esp + 16]
    mov [left_es], eax
    mov eax, cr2
    mov [left_cr2], eax
    mov esp, [kernel_stack]
    ret

.data
.balign 4
entry_flags: .long 0
kernel_stack: .long 0
inside_es: .long 0
left_vector: .long 0
left_error: .long 0
left_at: .long 0
left_flags: .long 0
left_es: .long 0
left_cr2: .long 0
left_ebx: .long 0
left_ecx: .long 0
left_edx: .long 0
left_esi: .long 0
.balign 256
task_state: .skip 104 + 32
.bss
.balign 4096
directory: .skip 4096
first_table: .skip 4096
