# Exceptions in 32-bit protected mode: vectors, error codes, and that the faulting instruction is restartable.

.include "runtime32.inc"

main:
    attempt
    ud2
    attempted invalid_opcode

    attempt
    xor ecx, ecx
    mov eax, 5
    cdq
    div ecx
    attempted divide_by_zero
    observe divide_by_zero.eax, eax

    attempt
    mov eax, 0x80000000
    cdq
    mov ecx, -1
    idiv ecx
    attempted divide_overflow

    attempt
    mov eax, 0x1234
    mov ds, eax
    attempted selector_beyond_table

    attempt
    mov eax, CODE32
    mov ss, eax
    attempted stack_from_code

    attempt
    xor eax, eax
    mov ss, eax
    attempted stack_null

    # A segment that is not present.
    mov dword ptr [gdt_spare], 0x0000ffff
    mov dword ptr [gdt_spare + 4], 0x00cf1300
    attempt
    mov eax, 0x58
    mov fs, eax
    attempted not_present

    # A data segment of 16 bytes: byte 15 can be read, byte 16 cannot.
    mov dword ptr [gdt_spare + 8], 0x0000000f
    mov dword ptr [gdt_spare + 12], 0x00409300
    mov eax, 0x60
    mov fs, eax
    attempt
    mov al, fs:[15]
    attempted within_limit
    attempt
    mov al, fs:[16]
    attempted beyond_limit
    attempt
    mov eax, fs:[13]
    attempted across_limit

    # Expand-down data segment: offsets up to the limit are outside.
    mov dword ptr [gdt_spare + 8], 0x00000fff
    mov dword ptr [gdt_spare + 12], 0x00409700
    mov eax, 0x60
    mov fs, eax
    attempt
    mov al, fs:[0xfff]
    attempted below_expand_down
    attempt
    mov al, fs:[0x1000]
    attempted within_expand_down

    # A read-only segment cannot be written.
    mov dword ptr [gdt_spare + 8], 0x0000ffff
    mov dword ptr [gdt_spare + 12], 0x00cf9100
    mov eax, 0x60
    mov fs, eax
    attempt
    mov byte ptr fs:[0x500], 1
    attempted write_read_only

    # The null selector may be loaded but not used.
    xor eax, eax
    mov gs, eax
    attempt
    mov al, gs:[0]
    attempted null_segment

    # The accessed bit was set by the load.
    mov eax, [gdt_spare + 12]
    observe accessed, eax

    attempt
    int3
    attempted breakpoint

    attempt
    mov al, 127
    add al, 1
    into
    attempted overflow

    attempt
    bound eax, [bounds_low]
    attempted bound

    attempt
    int 0x21
    attempted software_interrupt

    # LOCK on an instruction that does not take it.
    attempt
    .byte 0xf0
    nop
    attempted lock_prefix

    # A trap comes after its instruction: single step.
    mov dword ptr [caught_count], 0
    mov dword ptr [recover], offset 1f
    pushfd
    or dword ptr [esp], 0x100
    popfd
    inc dword ptr [stepped]
    inc dword ptr [stepped]
1:  mov eax, [caught_vector]
    observe single_step, eax
    mov eax, [stepped]
    observe single_step.executed, eax
    pushfd
    and dword ptr [esp], ~0x100
    popfd

    call ring3
    ret

# Into ring 3 and back by an interrupt gate that ring 3 may use.
ring3:
    mov eax, offset task_state
    mov word ptr [gdt_task + 2], ax
    shr eax, 16
    mov byte ptr [gdt_task + 4], al
    mov byte ptr [gdt_task + 7], ah
    mov word ptr [gdt_task], 103
    mov byte ptr [gdt_task + 5], 0x89
    mov dword ptr [task_state + 4], esp
    sub dword ptr [task_state + 4], 512
    mov dword ptr [task_state + 8], DATA32
    mov eax, TASK
    ltr ax
    mov byte ptr [idt + 0x80 * 8 + 5], 0xee
    mov dword ptr [on_interrupt], offset from_ring3
    mov [kernel_stack], esp
    push USER_DATA
    push offset user_stack_top
    pushfd
    push USER_CODE32
    push offset user_code
    iretd
user_code:
    mov eax, USER_DATA
    mov ds, eax
    mov es, eax
    xor ebx, ebx
    mov bx, cs
    int 0x80                    # returns here
    int 0x80                    # goes on in ring 0 by itself
    ud2
from_ring3:
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    inc dword ptr [calls]
    cmp dword ptr [calls], 1
    je 1f
    # Second call: leave ring 3 for good.
    mov esp, [kernel_stack]
    mov eax, [calls]
    observe ring3.calls, eax
    observe ring3.code_segment, ebx
    mov eax, [task_state + 4]
    sub eax, [kernel_stack]
    observe ring3.stack, eax
    str ax
    movzx eax, ax
    observe ring3.task, eax
    mov eax, [gdt_task + 4]
    and eax, 0xff00
    observe ring3.task_busy, eax
    ret
1:  mov eax, USER_DATA
    mov ds, eax
    mov es, eax
    ret

.data
.balign 4
bounds_low: .long 1, 2
stepped: .long 0
calls: .long 0
kernel_stack: .long 0
.balign 128
task_state: .skip 104
.bss
.balign 16
    .skip 4096
user_stack_top:
