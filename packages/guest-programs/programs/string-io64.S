# INS and OUTS in 64-bit mode: 64- and 32-bit addresses and counts, and page faults that end them half-way. Intel SDM Vol. 2
# INS/INSB/INSW/INSD, OUTS/OUTSB/OUTSW/OUTSD; Vol. 2A §4.2 on REP and exceptions.

.include "runtime64.inc"
.include "loopback.inc"

.equ UNCLAIMED, 0x2000
.equ FRAME, 0x00800000          # RAM behind the pages at SCRATCH
.equ MISSING, SCRATCH + 0x2000
.equ UPPER, 0xffffff8000000000  # the lowest 4 GiB once more

main64:
    mov qword ptr [scratch_table], FRAME + 3
    mov qword ptr [scratch_table + 8], FRAME + 0x1000 + 3
    mov rax, [level4]
    mov [level4 + 511 * 8], rax

    # 64-bit addresses and a 64-bit count, of which the upper half matters.
    loopback
    mov rsi, offset text
    mov rax, UPPER
    add rsi, rax
    mov ecx, 8
    rep outsb
    mov rdi, UPPER + SCRATCH
    mov ecx, 8
    rep insb
    line_again
    mov rax, [SCRATCH]
    observe64 memory, rax
    observe64 count, rcx
    mov rax, offset text
    sub rsi, rax
    observe64 rsi, rsi
    observe64 rdi, rdi
    # REX.W does not make the operand wider than 32 bits.
    mov qword ptr [SCRATCH], 0
    mov edi, SCRATCH
    mov edx, UNCLAIMED
    .byte 0x48
    insd
    mov rax, [SCRATCH]
    observe64 rex.memory, rax
    sub rdi, SCRATCH
    observe64 rex.rdi, rdi

    # 32-bit addresses: ECX counts, and the upper halves of RCX, RSI and RDI are cleared.
    loopback
    mov rsi, offset text
    mov rax, 0x1234567800000000
    or rsi, rax
    mov rcx, 0x1000000000000004
    addr32 rep outsb
    mov rdi, 0x7654321000000000 + SCRATCH + 8
    mov rcx, 0x2000000000000004
    addr32 rep insb
    line_again
    mov eax, [SCRATCH + 8]
    observe64 address32.memory, rax
    observe64 address32.count, rcx
    mov rax, offset text
    sub rsi, rax
    observe64 address32.rsi, rsi
    sub rdi, SCRATCH
    observe64 address32.rdi, rdi

    # Across two pages that are there, both ways.
    loopback
    mov rsi, offset text
    mov ecx, 8
    rep outsb
    mov edi, SCRATCH + 0xffc
    mov ecx, 8
    rep insb
    line_again
    mov rax, [SCRATCH + 0xffc]
    observe64 across.memory, rax
    mov edi, SCRATCH + 0xfff
    mov edx, UNCLAIMED
    insd
    mov rax, [SCRATCH + 0xffc]
    observe64 across.one, rax
    std
    mov rsi, SCRATCH + 0x1003
    mov qword ptr [SCRATCH + 0xffc], 0x48474645
    mov ecx, 8
    loopback
    rep outsb
    mov edi, SCRATCH + 0x1003
    mov ecx, 8
    rep insb
    cld
    line_again
    mov rax, [SCRATCH + 0xffc]
    observe64 across.down, rax

    # OUTS from a missing page half-way; what faulted is mapped and the instruction goes on.
    mov rsi, offset text
    mov rdi, MISSING - 16
    mov ecx, 16
    rep movsb
    mov dword ptr [FRAME + 0x2000], 0x64636261
    mov esi, MISSING - 5
    mov ecx, 9
    loopback
    attempt64
    rep outsb
999:
    mov qword ptr [recover64], 0
    mov r12, rcx
    mov qword ptr [scratch_table + 16], FRAME + 0x2000 + 3
    mov edx, COM1
    rep outsb
    count_received rbx
    line_again
    observe64 out, "qword ptr [caught_vector64]"
    observe64 out.error, "qword ptr [caught_error64]"
    observe64 out.cr2, "qword ptr [caught_cr2_64]"
    observe64 out.count, r12
    observe64 out.received, rbx
    sub rsi, MISSING
    observe64 out.rsi, rsi

    # INS to a missing page half-way: the registers say how far it came.
    mov qword ptr [scratch_table + 16], 0
    invlpg [MISSING]
    mov edx, SCRATCH_PORT
    mov al, 0x3c
    out dx, al
    mov edi, MISSING - 3
    mov ecx, 5
    attempt64
    rep insb
    attempted64 in
    observe64 in.cr2, "qword ptr [caught_cr2_64]"
    observe64 in.count, rcx
    mov eax, [MISSING - 4]
    observe64 in.memory, rax
    # A page that cannot be written.
    mov qword ptr [scratch_table + 16], FRAME + 0x2000 + 1
    mov edi, MISSING - 2
    mov ecx, 5
    attempt64
    rep insb
    attempted64 read_only
    observe64 read_only.count, rcx
    mov qword ptr [scratch_table + 16], 0
    invlpg [MISSING]
    # A word of which the second byte is missing.
    mov edi, MISSING - 1
    mov edx, UNCLAIMED
    attempt64
    insw
    attempted64 half
    sub rdi, MISSING
    observe64 half.rdi, rdi

    # Addresses that are not canonical.
    mov ecx, 4
    mov rsi, 0x0000800000000000
    mov edx, SCRATCH_PORT
    attempt64
    rep outsb
    attempted64 not_canonical
    observe64 not_canonical.count, rcx
    ret

.data
text: .ascii "abcdefghijklmnop"
.text
