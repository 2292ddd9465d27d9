# Counts seconds by the PIT's interrupt and says so, like a small operating system that does nothing else. It also keeps
# a table of numbers whose sum must stay right, so that RAM which was lost or mixed up is noticed.
#
# Output: `cpr guest: counter is up`, then once a second `tick N uptime S.00 check H`. A byte 'q' on COM1 ends it.

.include "runtime32.inc"

.equ TICKS_A_SECOND, 100
.equ WORDS, 65536

main:
    mov esi, offset greeting
    call put_string
    # Fill the table with a linear congruential sequence.
    mov edi, offset table
    mov ecx, WORDS
    mov eax, 1
1:  imul eax, eax, 1664525
    add eax, 1013904223
    stosd
    loop 1b
    # PIT channel 0, mode 2, 100 Hz.
    mov al, 0x34
    out 0x43, al
    mov eax, 1193182 / TICKS_A_SECOND
    out 0x40, al
    mov al, ah
    out 0x40, al
    mov dword ptr [on_interrupt], offset tick
    mov al, 0xfe
    out 0x21, al
    sti
wait:
    hlt
    mov edx, COM1 + 5
    in al, dx
    test al, 1
    jz 1f
    mov edx, COM1
    in al, dx
    cmp al, 'q'
    je leave
1:  mov eax, [ticks]
    cmp eax, [next]
    jb wait
    add dword ptr [next], TICKS_A_SECOND
    inc dword ptr [seconds]
    mov esi, offset tick_text
    call put_string
    mov eax, [seconds]
    call put_decimal
    mov esi, offset uptime_text
    call put_string
    mov eax, [seconds]
    call put_decimal
    mov esi, offset check_text
    call put_string
    call sum
    call put_hex
    mov al, 10
    call put_char
    jmp wait
leave:
    cli
    ret

# EAX = sum of the table, each word rotated by its place. Rotates the table's words by one place meanwhile, twice, so
# that memory changes all the time and the sum does not.
sum:
    mov ebx, offset table
    mov ecx, WORDS
    xor eax, eax
1:  mov edx, [ebx]
    rol dword ptr [ebx], 16
    add eax, edx
    mov edx, [ebx]
    rol dword ptr [ebx], 16
    xor eax, edx
    add ebx, 4
    loop 1b
    ret

tick:
    inc dword ptr [ticks]
    mov al, 0x20
    out 0x20, al
    ret

.data
greeting: .asciz "cpr guest: counter is up\n"
tick_text: .asciz "tick "
uptime_text: .asciz " uptime "
check_text: .asciz ".00 check "
.balign 4
ticks: .long 0
next: .long TICKS_A_SECOND
seconds: .long 0

.bss
.balign 4096
table: .skip WORDS * 4
