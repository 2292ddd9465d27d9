# An option ROM that leaves real mode and jumps to ENTRY, with segments as a Multiboot loader leaves them.
.intel_syntax noprefix
.code16
.byte 0x55, 0xaa, 1
jmp go
go:
    cli
    mov ax, cs
    mov ds, ax
    in al, 0x92
    or al, 2
    out 0x92, al
    .byte 0x66
    lgdt [pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long 0xd0000 + (code32 )
    .word 8
.equ start0, 0
.code32
code32:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, ENTRY
    jmp eax
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
pointer: .word 23
 .long 0xd0000 + gdt
