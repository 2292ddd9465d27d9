# Debug exceptions: single steps through plain and repeated instructions and behind MOV SS, breakpoints on execution and data, the
# general detect fault, and the registers' own rules. Intel SDM Vol. 3B chapter 18.
#
# The handler notes for each #DB how far behind `base` it would return to, eight bits each, the last in the lowest; and gathers DR6.

.include "runtime64.inc"

.equ DR6_CLEAR, 0xffff0ff0
.equ DR7_CLEAR, 0x400

# Code up to `steps_end` is executed with TF set.
.macro steps
    mov qword ptr [log], 0
    mov dword ptr [gathered], 0
    lea rax, [rip + 996f]
    mov [base], rax
    mov eax, DATA32
    push 0x102
    popfq
996:
.endm
.macro steps_end name
    push 2
    popfq
    observe64 \name, "qword ptr [log]"
    mov eax, [gathered]
    observe64 \name\().dr6, rax
.endm
# Code up to `watch_end` is executed with a value in DR7.
.macro watch control
    mov qword ptr [log], 0
    mov dword ptr [gathered], 0
    mov eax, \control + DR7_CLEAR
    mov dr7, rax
    lea rax, [rip + 997f]
    mov [base], rax
997:
.endm
.macro watch_end name
    mov eax, DR7_CLEAR
    mov dr7, rax
    observe64 \name, "qword ptr [log]"
    mov eax, [gathered]
    observe64 \name\().dr6, rax
.endm

main64:
    set_gate64 1, on_debug
    mov eax, DR6_CLEAR
    mov dr6, rax
    call single_steps
    call execution
    call data
    call registers
    ret

single_steps:
    # The first trap is behind the instruction that follows POPF, the last behind the POPF that clears TF.
    steps
    nop
    nop
    nop
    steps_end plain
    # Each round of a repeated instruction is a step, and returns to it until it is over.
    mov esi, offset source
    mov edi, offset target
    mov ecx, 3
    steps
    rep movsb
    nop
    steps_end repeated
    # What would be behind MOV SS comes one instruction later.
    steps
    nop
    mov ss, eax
    nop
    nop
    steps_end behind_mov_ss
    # A jump and a call are stepped over to where they go.
    steps
    jmp 1f
    nop
    nop
1:  call 2f
    jmp 3f
2:  ret
3:  nop
    steps_end jumps
    # A fault comes instead of the trap; its handler is not stepped through, and goes on where TF is clear.
    mov qword ptr [log], 0
    attempt64
    push 0x102
    popfq
    mov rax, [0x123456789abcdef0]
    nop
    attempted64 fault
    observe64 fault.steps, "qword ptr [log]"
    ret

execution:
    # A fault: the instruction has not been executed. RF lets it go on.
    mov eax, offset 1f
    mov dr0, rax
    mov eax, offset 2f
    mov dr3, rax
    xor ebx, ebx
    mov byte ptr [resume], 1
    watch 0x81                  # L0 and G3
    nop
1:  inc ebx
    nop
2:  add ebx, 16
    nop
    watch_end execution
    observe64 execution.executed, rbx
    # Not enabled, it does nothing.
    watch 0
    mov eax, offset 3f
    mov dr0, rax
3:  nop
    watch_end execution.disabled
    # Again each time it comes by.
    mov eax, offset 4f
    mov dr0, rax
    mov ecx, 3
    watch 1
4:  nop
    dec ecx
    jnz 4b
    watch_end execution.loop
    mov byte ptr [resume], 0
    ret

data:
    mov eax, offset target + 4
    mov dr0, rax
    mov eax, offset target + 8
    mov dr1, rax
    # DR0: stores, 2 bytes. DR1: loads and stores, 4 bytes.
    watch 0x00f50005
    mov byte ptr [target + 3], 1
    mov byte ptr [target + 4], 1
    mov byte ptr [target + 5], 1
    mov byte ptr [target + 6], 1
    mov al, [target + 4]
    watch_end stores
    watch 0x00f50005
    mov al, [target + 7]
    mov al, [target + 8]
    mov byte ptr [target + 11], 1
    mov al, [target + 12]
    watch_end loads
    # One that begins before, one that touches both.
    watch 0x00f50005
    mov dword ptr [target + 1], 1
    nop
    watch_end overlap
    watch 0x00f50005
    mov dword ptr [target + 5], 1
    nop
    watch_end both
    # Reading and writing one; 8 bytes.
    mov eax, offset target + 16
    mov dr2, rax
    watch 0x0b000010
    inc qword ptr [target + 16]
    mov al, [target + 23]
    mov byte ptr [target + 23], 1
    nop
    watch_end eight
    # The stack, by a call's return address.
    lea rax, [rsp - 8]
    mov dr0, rax
    watch 0x00090001
    call 1f
1:  pop rax
    watch_end stack
    # A repeated store: how soon behind the round that touched it is the processor's affair.
    mov eax, offset target + 4
    mov dr0, rax
    mov edi, offset target
    mov ecx, 8
    xor eax, eax
    watch 0x00010001
    rep stosb
    nop
    mov qword ptr [log], 0
    watch_end repeated_store
    observe64 repeated_store.count, rcx
    # A fault leaves nothing to trap.
    mov rax, offset target + 4
    mov dr0, rax
    mov qword ptr [scratch_table], 0
    attempt64
    watch 0x00030001
    mov esi, offset target + 4
    mov edi, SCRATCH
    add al, [rdi]
    attempted64 missing
    watch_end missing.steps
    ret

registers:
    # General detect: a move from or to a debug register faults, once, because it is cleared then.
    mov eax, 0x2400
    mov qword ptr [log], 0
    mov dword ptr [gathered], 0
    mov byte ptr [keep_dr6], 1
    mov dr7, rax
    mov rbx, dr0
    mov byte ptr [keep_dr6], 0
    mov rax, dr6
    mov ecx, DR6_CLEAR
    mov dr6, rcx
    observe64 general_detect.dr6, rax
    mov rax, dr7
    observe64 general_detect.dr7, rax
    # DR4 and DR5 are DR6 and DR7, or do not exist.
    .byte 0x0f, 0x21, 0xe0      # mov rax, dr4
    observe64 alias, rax
    .byte 0x0f, 0x21, 0xe8      # mov rax, dr5
    observe64 alias.control, rax
    mov rax, cr4
    or eax, 8
    mov cr4, rax
    attempt64
    .byte 0x0f, 0x21, 0xe0
    attempted64 alias.none
    mov rax, cr4
    and eax, ~8
    mov cr4, rax
    # The upper halves of DR6 and DR7 do not exist; reserved bits of the lower ones stay as they are.
    mov rcx, 0x100000400
    attempt64
    mov dr7, rcx
    attempted64 upper_half
    attempt64
    mov dr6, rcx
    attempted64 upper_half.dr6
    xor eax, eax
    mov dr6, rax
    mov dr7, rax
    mov rax, dr6
    observe64 zero.dr6, rax
    mov rax, dr7
    observe64 zero.dr7, rax
    mov eax, DR6_CLEAR
    mov dr6, rax
    ret

on_debug:
    push rax
    push rcx
    mov rax, [rsp + 16]
    sub rax, [base]
    mov rcx, [log]
    shl rcx, 8
    mov cl, al
    mov [log], rcx
    cmp byte ptr [keep_dr6], 0
    jne 2f
    mov rax, dr6
    xor eax, DR6_CLEAR
    or [gathered], eax
    mov eax, DR6_CLEAR
    mov dr6, rax
2:  cmp byte ptr [resume], 0
    je 1f
    or dword ptr [rsp + 32], 0x10000
1:  pop rcx
    pop rax
    iretq

.data
.balign 16
source: .quad 0x1122334455667788
target: .quad 0, 0, 0, 0
log: .quad 0
base: .quad 0
gathered: .long 0
resume: .byte 0
keep_dr6: .byte 0
.text
