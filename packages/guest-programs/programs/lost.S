# Jumps to where there is neither RAM nor a device. A real processor fetches all ones there; a VMM may have no way to go on.

.include "runtime32.inc"

.equ NOWHERE, 0xd0000000

main:
    mov esi, offset message
    call put_string
    mov eax, NOWHERE
    jmp eax

message: .asciz "lost\n"
