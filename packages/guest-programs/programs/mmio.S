# Memory-mapped registers: the IOAPIC's window of index and data, and the local APIC's page, by every kind of instruction that
# reads, writes, or reads and writes memory; string instructions with one or both ends there; through a second mapping; and
# addresses that nobody claims. Accesses are of 32 bits and aligned, as these devices want them (Intel SDM Vol. 3A §11.4.1).

.include "runtime64.inc"
.include "apic.inc"

.equ UNCLAIMED, 0xfe000000      # between RAM and the IOAPIC; real chipsets answer with ones
.equ PIN, 0x10 + 2 * 20         # register of a pin that nothing is connected to

main64:
    mov r12d, IOAPIC
    mov r13d, APIC

    # Index and data.
    mov dword ptr [r12], 1
    mov eax, [r12]
    observe64 ioapic.index, rax
    mov eax, [r12 + IOAPIC_DATA]
    observe64 ioapic.version, rax
    mov dword ptr [r12], 0
    mov dword ptr [r12 + IOAPIC_DATA], 0x05000000
    mov eax, [r12 + IOAPIC_DATA]
    observe64 ioapic.id, rax
    # An entry of the redirection table: two registers.
    mov dword ptr [r12], PIN + 1
    mov dword ptr [r12 + IOAPIC_DATA], 0x12000000
    mov dword ptr [r12], PIN
    mov dword ptr [r12 + IOAPIC_DATA], 0x1a877
    mov eax, [r12 + IOAPIC_DATA]
    observe64 entry.low, rax
    # Delivery status and remote IRR are read-only.
    mov dword ptr [r12 + IOAPIC_DATA], 0x15077
    mov eax, [r12 + IOAPIC_DATA]
    observe64 entry.read_only, rax
    inc dword ptr [r12]
    mov eax, [r12 + IOAPIC_DATA]
    observe64 entry.high, rax
    dec dword ptr [r12]
    mov eax, [r12]
    observe64 index.dec, rax

    # Read, change, write: on the pin's entry, which stays masked.
    lea rdi, [r12 + IOAPIC_DATA]
    mov dword ptr [rdi], 0x10000
    add dword ptr [rdi], 0x21
    mov eax, [rdi]
    observe64 rmw.add, rax
    or dword ptr [rdi], 0x2000
    xor dword ptr [rdi], 0x0061
    mov eax, [rdi]
    observe64 rmw.xor, rax
    and dword ptr [rdi], 0x100ff
    sub dword ptr [rdi], 1
    mov eax, [rdi]
    observe64 rmw.sub, rax
    stc
    adc dword ptr [rdi], 0x10
    mov eax, [rdi]
    observe64 rmw.adc, rax
    mov dword ptr [rdi], 0x10062
    shr dword ptr [rdi], 1
    mov eax, [rdi]
    observe64 rmw.shr, rax
    mov dword ptr [rdi], 0x10031
    mov ebx, 0x10042
    xchg [rdi], ebx
    mov eax, [rdi]
    observe64 xchg.old, rbx
    observe64 xchg.new, rax
    lock or dword ptr [rdi], 0x11
    mov eax, [rdi]
    observe64 lock.or, rax
    bts dword ptr [rdi], 3
    setc bl
    movzx ebx, bl
    mov eax, [rdi]
    observe64 bts.old, rbx
    observe64 bts.new, rax
    btr dword ptr [rdi], 0
    setc bl
    movzx ebx, bl
    mov eax, [rdi]
    observe64 btr.old, rbx
    observe64 btr.new, rax
    mov ecx, 0x10001
    mov eax, 0x1234             # not equal: EAX is loaded
    cmpxchg [rdi], ecx
    observe64 cmpxchg.loaded, rax
    cmpxchg [rdi], ecx
    setz bl
    movzx ebx, bl
    mov eax, [rdi]
    observe64 cmpxchg.equal, rbx
    observe64 cmpxchg.stored, rax
    mov ebx, 2
    xadd [rdi], ebx
    mov eax, [rdi]
    observe64 xadd.old, rbx
    observe64 xadd.new, rax

    # Operands that are only read.
    mov ebx, 1
    add ebx, [rdi]
    observe64 source.add, rbx
    cmp dword ptr [rdi], 0x10003
    sete bl
    movzx ebx, bl
    observe64 source.cmp, rbx
    test dword ptr [rdi], 0x10000
    setnz bl
    movzx ebx, bl
    observe64 source.test, rbx
    movsxd rbx, dword ptr [rdi]
    observe64 source.movsxd, rbx
    imul ebx, [rdi], 3
    observe64 source.imul, rbx
    bt dword ptr [rdi], 16
    setc bl
    movzx ebx, bl
    observe64 source.bt, rbx
    mov ebx, 7
    stc
    cmovnc ebx, [rdi]
    observe64 source.cmov_not, rbx
    cmovc ebx, [rdi]
    observe64 source.cmov, rbx

    # The local APIC.
    mov dword ptr [r13 + APIC_SPURIOUS], 0x1ff
    mov eax, [r13 + APIC_SPURIOUS]
    observe64 apic.spurious, rax
    mov dword ptr [r13 + APIC_LDR], 0x80ffffff
    mov eax, [r13 + APIC_LDR]
    observe64 apic.logical_destination, rax
    mov dword ptr [r13 + APIC_DFR], 0
    mov eax, [r13 + APIC_DFR]
    observe64 apic.destination_format, rax
    mov dword ptr [r13 + APIC_DFR], -1
    mov dword ptr [r13 + APIC_TPR], 0x30
    add dword ptr [r13 + APIC_TPR], 0x12
    mov eax, [r13 + APIC_TPR]
    observe64 apic.task_priority, rax
    mov eax, [r13 + APIC_PPR]
    and eax, 0xf0
    observe64 apic.processor_priority, rax
    mov rbx, cr8
    observe64 apic.cr8, rbx
    mov ebx, 5
    mov cr8, rbx
    mov eax, [r13 + APIC_TPR]
    observe64 apic.by_cr8, rax
    mov eax, 0x21
    xchg eax, [r13 + APIC_TPR]
    observe64 apic.xchg, rax
    mov dword ptr [r13 + APIC_ERROR], 0x10055
    or dword ptr [r13 + APIC_ERROR], 2
    mov eax, [r13 + APIC_ERROR]
    observe64 apic.error_entry, rax
    mov eax, [r13 + APIC_VERSION]
    mov dword ptr [r13 + APIC_VERSION], 0
    xor eax, [r13 + APIC_VERSION]
    observe64 apic.version_changed, rax

    # String instructions: to one register after the other, from there, and from one device to the other.
    lea rdi, [r13 + APIC_TPR]
    mov eax, 0x20
    mov ecx, 4                  # what is not on a multiple of 16 has no effect of its own
    rep stosd
    sub rdi, r13
    observe64 stos.rdi, rdi
    mov eax, [r13 + APIC_TPR]
    observe64 stos.stored, rax
    mov dword ptr [r12], PIN
    mov dword ptr [r12 + IOAPIC_DATA], 0x10066
    lea rsi, [r12 + IOAPIC_DATA]
    mov edi, offset target
    movsd
    mov eax, [target]
    observe64 movs.from_device, rax
    mov dword ptr [target], 0x10077
    mov esi, offset target
    lea rdi, [r12 + IOAPIC_DATA]
    movsd
    mov eax, [r12 + IOAPIC_DATA]
    observe64 movs.to_device, rax
    lea rsi, [r13 + APIC_TPR]
    lea rdi, [r12 + IOAPIC_DATA]
    movsd                       # masked no longer, but the pin is not connected
    mov eax, [r12 + IOAPIC_DATA]
    observe64 movs.between, rax
    mov dword ptr [r12 + IOAPIC_DATA], 0x10044
    lea rsi, [r12 + IOAPIC_DATA]
    lodsd
    observe64 lods, rax
    lea rdi, [r12 + IOAPIC_DATA]
    scasd
    sete bl
    movzx ebx, bl
    observe64 scas.equal, rbx
    mov dword ptr [target], 0x10045
    mov esi, offset target
    lea rdi, [r12 + IOAPIC_DATA]
    cmpsd
    seta bl
    movzx ebx, bl
    observe64 cmps.above, rbx
    std
    mov dword ptr [r12], 0x44
    lea rsi, [r12]
    mov edi, offset target
    lodsd
    cld
    sub rsi, r12
    observe64 lods.down, rax
    observe64 lods.down.rsi, rsi

    # Through a second mapping, not cached, whose page becomes accessed and dirty.
    mov dword ptr [r12], PIN
    mov rax, IOAPIC + 0x1b
    mov [scratch_table], rax
    mov dword ptr [r12 + IOAPIC_DATA], 0x10088
    mov eax, [SCRATCH + IOAPIC_DATA]
    observe64 mapped.read, rax
    mov rax, [scratch_table]
    observe64 mapped.accessed, rax
    mov dword ptr [SCRATCH + IOAPIC_DATA], 0x10099
    mov eax, [r12 + IOAPIC_DATA]
    observe64 mapped.written, rax
    mov rax, [scratch_table]
    observe64 mapped.dirty, rax
    # Without the right to write, nothing reaches the device.
    mov rax, IOAPIC + 0x19
    mov [scratch_table], rax
    invlpg [SCRATCH]
    attempt64
    xor dword ptr [SCRATCH + IOAPIC_DATA], 0xff
    attempted64 mapped.read_only
    mov eax, [r12 + IOAPIC_DATA]
    observe64 mapped.kept, rax
    # A page of RAM and then one of a device: REP STOSD goes from one to the other.
    mov qword ptr [scratch_table], 0x800000 + 3
    mov rax, IOAPIC + 0x1b
    mov [scratch_table + 8], rax
    invlpg [SCRATCH]
    mov dword ptr [r12], 0
    mov edi, SCRATCH + 0xff8
    mov eax, PIN
    mov ecx, 3
    rep stosd
    mov eax, [r12]
    observe64 crossing.index, rax
    mov rax, [SCRATCH + 0xff8]
    observe64 crossing.memory, rax
    observe64 crossing.rdi, rdi

    # What nobody claims.
    mov ebx, UNCLAIMED
    movzx eax, byte ptr [rbx + 1]
    observe64 unclaimed.byte, rax
    movzx eax, word ptr [rbx + 2]
    observe64 unclaimed.word, rax
    mov eax, [rbx + 4]
    observe64 unclaimed.doubleword, rax
    mov rax, [rbx + 8]
    observe64 unclaimed.quadword, rax
    mov rax, [rbx + 0xffd]
    observe64 unclaimed.across_pages, rax
    mov qword ptr [rbx], 5
    inc byte ptr [rbx]
    setz cl
    movzx ecx, cl
    observe64 unclaimed.inc_zero, rcx
    mov rax, [rbx]
    observe64 unclaimed.after_write, rax
    ret

.data
.balign 8
target: .quad 0
.text
