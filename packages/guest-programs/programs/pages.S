# Adds one to the first byte of each page from FIRST to before END, page after page, for ever. Whoever looks at RAM while the program
# stands still finds, in the order of the pages, a number, and from some page on the number before it: RAM of two different moments
# has more than one such step.
#
# Output: a line `A` at the beginning, `B` after each 16 rounds. With the command line `suspend` it sleeps (ACPI S1) after the first
# `B`, and says `awake` when it goes on.

.include "runtime32.inc"

.equ FIRST, 0x1000000
.equ END, 0x2000000
.equ ROUNDS, 16
.equ PM1_STATUS, 0x600
.equ PM1_CONTROL, 0x604

.text
main:
    mov esi, offset begin
    call put_string
    # The start information has the address of the command line at 24.
    mov ebx, [start_info]
    mov ebx, [ebx + 24]
    cmp dword ptr [ebx], 0x70737573     # "susp"
    sete [sleeps]
    # RAM keeps what is in it over a reset.
    mov edi, FIRST
1:  mov byte ptr [edi], 0
    add edi, 4096
    cmp edi, END
    jb 1b
rounds:
    mov ecx, ROUNDS
1:  mov edi, FIRST
2:  inc byte ptr [edi]
    add edi, 4096
    cmp edi, END
    jb 2b
    loop 1b
    mov esi, offset progress
    call put_string
    cmp byte ptr [sleeps], 0
    je rounds
    mov byte ptr [sleeps], 0
    mov edx, PM1_CONTROL
    mov ax, 0x2000 | (1 << 10)          # SLP_EN, and the type of S1
    out dx, ax
    # WAK_STS tells that it has slept and is awake (ACPI 6.5 §4.8.3.1.1); a one written clears it.
    mov edx, PM1_STATUS
1:  in ax, dx
    test ax, 0x8000
    jz 1b
    mov ax, 0x8000
    out dx, ax
    mov esi, offset awake
    call put_string
    jmp rounds

.data
begin: .asciz "A\n"
progress: .asciz "B\n"
awake: .asciz "awake\n"
sleeps: .byte 0
