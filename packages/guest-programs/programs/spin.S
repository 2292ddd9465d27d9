# Processors that never leave the guest by themselves: each counts up in RAM for ever. `spin begin` is printed when the others have
# been told to start.
#
# Whoever measures reads the counters in RAM: 32 bits each, 64 bytes apart, the boot processor's at 0x9000 and the others' behind
# it in the order of their starts.

.include "runtime32.inc"

.equ TRAMPOLINE, 0x8000
.equ COUNTERS, 0x9000
.equ APIC_SPURIOUS, 0xfee000f0
.equ APIC_COMMAND, 0xfee00300

.text
main:
    xor eax, eax
    mov edi, COUNTERS
    mov ecx, 1024
    rep stosd
    mov esi, offset trampoline
    mov edi, TRAMPOLINE
    mov ecx, offset trampoline_end - trampoline
    rep movsb
    or dword ptr [APIC_SPURIOUS], 0x100
    # INIT, then a startup message with the trampoline's page, to all but this one (Intel SDM Vol. 3A §9.4.4).
    mov dword ptr [APIC_COMMAND], 0xc4500
    mov dword ptr [APIC_COMMAND], 0xc4600 | (TRAMPOLINE >> 12)
    mov esi, offset begin
    call put_string
    xor eax, eax
count:
    inc dword ptr [COUNTERS + eax]
    jmp count

started:
    mov eax, DATA32
    mov ds, eax
    mov eax, 64
    lock xadd [next], eax
    jmp count

# Where the others start, in real mode: copied, so all it needs is in it.
.code16
trampoline:
    cli
    .byte 0x66
    lgdt cs:[trampoline_gdt - trampoline]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long started
    .word CODE32
trampoline_gdt:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:
.code32

.data
begin: .asciz "spin begin\n"
.balign 4
next: .long 64
