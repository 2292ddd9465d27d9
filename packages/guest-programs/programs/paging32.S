# 32-bit paging: page-fault error codes, CR2, accessed and dirty bits, write protection, large pages, PAE and
# no-execute. Intel SDM Vol. 3A §4.3, §4.4, §4.7.

.include "runtime32.inc"

.equ PRESENT, 1
.equ WRITE, 2
.equ USER, 4
.equ ACCESSED, 0x20
.equ DIRTY, 0x40
.equ LARGE, 0x80
.equ WINDOW, 0x00c00000         # mapped page by page below
.equ FRAME, 0x00800000          # RAM behind the window

# Sets the entry of page NUMBER of the window to VALUE and forgets its translation.
.macro map number, value
    mov dword ptr [window_table + 4 * \number], \value
    invlpg [WINDOW + 0x1000 * \number]
.endm
.macro entry name, number
    mov eax, [window_table + 4 * \number]
    observe \name, eax
.endm
.macro address name
    mov eax, [caught_cr2]
    observe \name, eax
.endm

main:
    # Page directory: 0 to 8 MiB and 8 to 12 MiB as large pages, the window through a table.
    mov edi, offset directory
    mov dword ptr [edi], PRESENT + WRITE + LARGE
    mov dword ptr [edi + 4], 0x400000 + PRESENT + WRITE + LARGE
    mov dword ptr [edi + 8], 0x800000 + PRESENT + WRITE + LARGE
    mov eax, offset window_table + PRESENT + WRITE + USER
    mov [edi + 12], eax
    mov eax, cr4
    or eax, 0x10                # PSE
    mov cr4, eax
    mov eax, offset directory
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80010000          # PG, WP
    mov cr0, eax

    map 0, FRAME + PRESENT + WRITE
    mov dword ptr [WINDOW], 0x12345678
    mov eax, [FRAME]
    observe stored_through_window, eax
    entry after_write 0
    map 1, FRAME + 0x1000 + PRESENT + WRITE
    mov eax, [WINDOW + 0x1000]
    entry after_read 1
    mov dword ptr [WINDOW + 0x1000], 1
    entry after_read_then_write 1

    attempt
    mov eax, [WINDOW + 0x2ffc]
    attempted not_present_read
    address not_present_read.cr2
    attempt
    mov dword ptr [WINDOW + 0x2004], 1
    attempted not_present_write
    address not_present_write.cr2

    map 3, FRAME + 0x3000 + PRESENT
    attempt
    mov dword ptr [WINDOW + 0x3008], 1
    attempted read_only_write
    address read_only_write.cr2
    # Without CR0.WP ring 0 may write it.
    mov eax, cr0
    and eax, ~0x10000
    mov cr0, eax
    attempt
    mov dword ptr [WINDOW + 0x3008], 1
    attempted read_only_write_without_wp
    mov eax, cr0
    or eax, 0x10000
    mov cr0, eax

    # A store across two pages, the second of which is missing: nothing is stored.
    mov dword ptr [WINDOW + 0x1ffc], 0x55555555
    attempt
    mov dword ptr [WINDOW + 0x1ffe], 0xaaaaaaaa
    attempted across_write
    address across_write.cr2
    mov eax, [WINDOW + 0x1ffc]
    observe across_write.kept, eax

    # REP MOVSB into a missing page stops there; registers tell how far it came.
    mov esi, WINDOW
    mov edi, WINDOW + 0x1ff0
    mov ecx, 0x40
    attempt
    rep movsb
    attempted string
    observe string.count, ecx
    observe string.edi, edi
    address string.cr2

    # A translation that was used goes on being used until INVLPG or a load of CR3.
    mov dword ptr [FRAME + 0x5000], 5
    mov dword ptr [FRAME + 0x6000], 6
    map 4, FRAME + 0x5000 + PRESENT + WRITE
    mov eax, [WINDOW + 0x4000]
    observe before_remap, eax
    map 4, FRAME + 0x6000 + PRESENT + WRITE
    mov eax, [WINDOW + 0x4000]
    observe after_invlpg, eax
    mov dword ptr [window_table + 4 * 4], FRAME + 0x5000 + PRESENT + WRITE
    mov eax, cr3
    mov cr3, eax
    mov eax, [WINDOW + 0x4000]
    observe after_cr3, eax

    # Execution in a page that is not there.
    mov dword ptr [recover], 0
    attempt
    mov eax, WINDOW + 0x7000
    jmp eax
    attempted fetch
    address fetch.cr2

    # Code that runs across a page boundary, mapped to two frames that are not neighbours.
    map 8, FRAME + 0x20000 + PRESENT + WRITE
    map 9, FRAME + 0x10000 + PRESENT + WRITE
    mov byte ptr [FRAME + 0x20ffd], 0xb8        # mov eax, 0x44332211; ret
    mov dword ptr [WINDOW + 0x8ffe], 0x44332211
    mov byte ptr [FRAME + 0x10002], 0xc3
    mov eax, WINDOW + 0x8ffd
    call eax
    observe code_across_pages, eax

    entry large_directory_window 8

    # PAE with no-execute.
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov ecx, 0xc0000080         # EFER.NXE
    rdmsr
    or eax, 0x800
    wrmsr
    mov eax, offset pae_directory + PRESENT
    mov [pae_pointers], eax
    mov edi, offset pae_directory
    xor ecx, ecx
1:  mov eax, ecx
    shl eax, 21
    or eax, PRESENT + WRITE + LARGE
    mov [edi + ecx * 8], eax
    mov dword ptr [edi + ecx * 8 + 4], 0
    inc ecx
    cmp ecx, 6
    jb 1b
    mov eax, offset pae_table + PRESENT + WRITE
    mov [edi + 6 * 8], eax
    mov dword ptr [pae_table], FRAME + PRESENT + WRITE
    mov dword ptr [pae_table + 4], 0x80000000
    mov dword ptr [pae_table + 8], FRAME + 0x1000 + PRESENT + WRITE
    mov byte ptr [FRAME], 0xc3
    mov byte ptr [FRAME + 0x1000], 0xc3
    mov eax, offset pae_pointers
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov al, [WINDOW]
    attempt
    mov eax, WINDOW
    jmp eax
    attempted no_execute
    address no_execute.cr2
    attempt
    mov eax, WINDOW + 0x1000
    call eax
    attempted may_execute
    mov eax, [pae_table]
    observe pae.entry, eax
    # A reserved bit in an entry.
    mov dword ptr [pae_table + 20], 0x00100000
    mov dword ptr [pae_table + 16], PRESENT + WRITE
    attempt
    mov eax, [WINDOW + 0x2000]
    attempted reserved_bit
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    ret

.bss
.balign 4096
directory: .skip 4096
window_table: .skip 4096
pae_directory: .skip 4096
pae_table: .skip 4096
pae_pointers: .skip 4096
