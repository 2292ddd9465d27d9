# INS and OUTS, alone and repeated: all widths, both directions, 16-bit addressing, segment overrides, limits that end them
# half-way, and the I/O permission bitmap. Intel SDM Vol. 2 INS/INSB/INSW/INSD, OUTS/OUTSB/OUTSW/OUTSD; Vol. 1 §19.5 and §19.6.
#
# COM1 in loopback with its FIFO on gives back the bytes that it was sent, in order, each once. The scratch register at the end
# of COM1's ports, and the memory of the CMOS clock, keep what was written last.

.include "runtime32.inc"
.include "loopback.inc"

.equ UNCLAIMED, 0x2000
.equ WINDOW, 0x00800000         # RAM for experiments

main:
    # One at a time: the registers move by the width.
    mov esi, offset text
    mov edx, SCRATCH_PORT
    outsb
    in al, dx
    movzx eax, al
    observe outsb.port, eax
    sub esi, offset text
    observe outsb.esi, esi
    mov edi, WINDOW
    mov dword ptr [edi], -1
    insb
    mov eax, [WINDOW]
    observe insb.memory, eax
    sub edi, WINDOW
    observe insb.edi, edi

    # A word is a byte for the port and one for the next: modem status, which cannot be written, and scratch.
    mov esi, offset text
    mov edx, SCRATCH_PORT - 1
    outsw
    in ax, dx
    movzx eax, ax
    observe outsw.port, eax
    mov edi, WINDOW
    mov dword ptr [edi], -1
    insw
    mov eax, [WINDOW]
    observe insw.memory, eax
    # A double word: modem control, line status, modem status, scratch.
    wait_sent
    mov esi, offset modem_off
    mov edx, SCRATCH_PORT - 3
    outsd
    mov edi, WINDOW
    insd
    mov eax, [WINDOW]
    observe insd.memory, eax
    sub esi, offset modem_off
    observe outsd.esi, esi
    sub edi, WINDOW
    observe insd.edi, edi

    # Repeated: every byte once and in order.
    loopback
    mov esi, offset text
    mov ecx, 8
    rep outsb
    mov edi, WINDOW
    mov ecx, 8
    rep insb
    line_again
    call observe_window
    observe bytes.ecx, ecx
    sub edi, WINDOW
    observe bytes.edi, edi
    sub esi, offset text
    observe bytes.esi, esi

    # Downwards.
    std
    loopback
    mov esi, offset text + 7
    mov ecx, 4
    rep outsb
    mov edi, WINDOW + 3
    mov ecx, 4
    rep insb
    cld
    line_again
    mov eax, [WINDOW]
    observe down.memory, eax
    sub esi, offset text
    observe down.esi, esi
    sub edi, WINDOW
    observe down.edi, edi

    # Words upwards to index and data of the CMOS memory, double words downwards to COM1.
    mov esi, offset cmos_words
    mov edx, 0x70
    mov ecx, 4
    rep outsw
    mov al, 0x4a
    out 0x70, al
    in al, 0x71
    movzx eax, al
    observe words.third, eax
    mov al, 0x4b
    out 0x70, al
    mov dword ptr [WINDOW], 0
    mov edi, WINDOW
    mov edx, 0x71
    mov ecx, 3
    rep insb
    mov eax, [WINDOW]
    observe words.fourth_thrice, eax
    std
    mov esi, offset modem_off + 8
    mov edx, SCRATCH_PORT - 3
    mov ecx, 3
    rep outsd
    cld
    mov edx, SCRATCH_PORT
    in al, dx
    movzx eax, al
    observe doublewords.last, eax
    sub esi, offset modem_off
    observe doublewords.esi, esi

    # A count of zero does nothing, not even where it would fault.
    mov edx, SCRATCH_PORT
    xor eax, eax
    mov es, eax
    mov fs, eax
    xor ecx, ecx
    attempt
    rep outsb dx, fs:[esi]
    rep insd
    attempted nothing
    mov eax, DATA32
    mov es, eax
    in al, dx
    movzx eax, al
    observe nothing.port, eax

    # What nobody claims reads as ones.
    mov edx, UNCLAIMED
    mov dword ptr [WINDOW], 0
    mov edi, WINDOW
    insb
    mov eax, [WINDOW]
    observe unclaimed.byte, eax
    mov edi, WINDOW
    mov ecx, 2
    rep insw
    mov eax, [WINDOW]
    observe unclaimed.words, eax
    mov edi, WINDOW
    mov ecx, 2
    rep insd
    mov eax, [WINDOW + 4]
    observe unclaimed.doublewords, eax

    # 16-bit addresses: CX counts, SI and DI wrap, the upper halves stay.
    mov esi, offset text
    mov edi, 0x6ffe
    mov ecx, 6
    rep movsb
    mov esi, 0x12346ffe
    mov ecx, 0x00050004
    loopback
    .byte 0x67
    rep outsb
    mov edi, 0x5678fffe
    mov ecx, 0x00070004
    .byte 0x67
    rep insb
    line_again
    observe address16.esi, esi
    observe address16.edi, edi
    observe address16.ecx, ecx
    mov eax, [0]
    and eax, 0xffff
    observe address16.wrapped, eax

    # OUTS takes a segment override, INS always stores to ES.
    mov dword ptr [gdt_spare], 0x0000000f + (WINDOW << 16 & 0xffff0000)
    mov dword ptr [gdt_spare + 4], (WINDOW & 0xff000000) + 0x00409200 + (WINDOW >> 16 & 0xff)
    mov eax, 0x58               # 16 bytes from WINDOW on
    mov fs, eax
    mov byte ptr [WINDOW + 3], 0x77
    mov esi, 3
    mov edx, SCRATCH_PORT
    outsb dx, fs:[esi]
    in al, dx
    movzx eax, al
    observe override.port, eax

    # Beyond a limit half-way: what was transferred before stays so, the registers say how far it came.
    loopback
    mov esi, 12
    mov ecx, 8
    attempt
    rep outsb dx, fs:[esi]
999:
    mov dword ptr [recover], 0
    count_received ebx
    line_again
    observe limit_out, "dword ptr [caught_vector]"
    observe limit_out.error, "dword ptr [caught_error]"
    observe limit_out.received, ebx
    observe limit_out.ecx, ecx
    observe limit_out.esi, esi
    mov eax, 0x58
    mov es, eax
    mov edi, 10
    mov ecx, 4
    mov edx, SCRATCH_PORT - 1
    attempt
    rep insw
    attempted limit_in
    mov eax, DATA32
    mov es, eax
    observe limit_in.ecx, ecx
    observe limit_in.edi, edi

    call ring3
    ret

# Text of 8 bytes in WINDOW, as two numbers.
observe_window:
    mov eax, [WINDOW]
    observe bytes.low, eax
    mov eax, [WINDOW + 4]
    observe bytes.high, eax
    ret

# Ring 3 with an I/O permission bitmap that allows the scratch register alone (Intel SDM Vol. 1 §19.5.2).
ring3:
    mov edi, offset task_state + 104
    mov ecx, 0x408 / 8
    mov al, 0xff
    rep stosb
    and byte ptr [task_state + 104 + SCRATCH_PORT / 8], ~(1 << (SCRATCH_PORT & 7)) & 0xff
    mov word ptr [task_state + 102], 104
    mov eax, offset task_state
    mov word ptr [gdt_task + 2], ax
    shr eax, 16
    mov byte ptr [gdt_task + 4], al
    mov byte ptr [gdt_task + 7], ah
    mov word ptr [gdt_task], 104 + 0x408 / 8
    mov byte ptr [gdt_task + 5], 0x89
    mov [kernel_stack], esp
    mov eax, esp
    sub eax, 512
    mov [task_state + 4], eax
    mov dword ptr [task_state + 8], DATA32
    mov eax, TASK
    ltr ax
    mov byte ptr [idt + 0x80 * 8 + 5], 0xee
    mov dword ptr [on_interrupt], offset from_ring3
    push USER_DATA
    push offset user_stack_top
    push 2
    push USER_CODE32
    push offset 1f
    iretd
1:  mov eax, USER_DATA
    mov ds, eax
    mov es, eax
    mov esi, offset text
    mov edx, SCRATCH_PORT
    mov ecx, 2
    rep outsb                   # allowed
    mov edi, offset user_result
    insb
    mov dword ptr [caught_vector], -1
    mov dword ptr [recover], offset 2f
    mov edx, SCRATCH_PORT - 1
    mov edi, offset user_result + 1
    mov ecx, 1
    rep insw                    # one of its two ports is not
2:  mov ebx, [caught_vector]
    mov ebp, [caught_error]
    mov [user_result + 4], ecx
    int 0x80
from_ring3:
    mov eax, DATA32
    mov ds, eax
    mov es, eax
    mov esp, [kernel_stack]
    mov eax, [user_result]
    observe bitmap.read, eax
    observe bitmap.refused, ebx
    observe bitmap.error, ebp
    observe bitmap.ecx, "dword ptr [user_result + 4]"
    ret

.data
text: .ascii "abcdefgh"
    .ascii "ijklmnop"
.balign 4
modem_off: .byte 0, 0, 0, 0x99, 0, 0, 0, 0x88, 0, 0, 0, 0x66
cmos_words: .byte 0x48, 0x11, 0x49, 0x22, 0x4a, 0x33, 0x4b, 0x44
.balign 4
user_result: .long 0, 0
kernel_stack: .long 0
.balign 256
task_state: .skip 104 + 0x408 / 8 + 1, 0xff

.bss
.balign 16
    .skip 4096
user_stack_top:
