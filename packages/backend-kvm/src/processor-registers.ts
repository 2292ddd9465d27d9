import type { ProcessorState, SegmentState } from "@cpr/core";

/** Places of the general registers in `struct kvm_regs`, in the encoding's order; RIP and RFLAGS follow. */
const registerAt = [0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15].map((place) => 8 * place);
const ripAt = 128;
const rflagsAt = 136;

/** Places of the segment registers in `struct kvm_sregs`: ES CS SS DS FS GS. */
const segmentAt = [48, 0, 120, 24, 72, 96];
const trAt = 144;
const ldtrAt = 168;
const gdtrAt = 192;
const idtrAt = 208;
const controlAt = { cr0: 224, cr2: 232, cr3: 240, cr4: 248, cr8: 256, efer: 264, apicBase: 272 } as const;
const interruptBitmapAt = 280;

/** General registers, segments and control registers: what KVM_GET_REGS and KVM_GET_SREGS give. */
export type RegisterState = Pick<
  ProcessorState,
  | "registers"
  | "rip"
  | "rflags"
  | "segments"
  | "ldtr"
  | "tr"
  | "gdtr"
  | "idtr"
  | "cr0"
  | "cr2"
  | "cr3"
  | "cr4"
  | "cr8"
  | "efer"
>;

/** Reads `struct kvm_regs` and `struct kvm_sregs`. */
export function readRegisters(regs: DataView, sregs: DataView): RegisterState {
  const control = (at: number): bigint => sregs.getBigUint64(at, true);
  return {
    registers: registerAt.map((at) => regs.getBigUint64(at, true)),
    rip: regs.getBigUint64(ripAt, true),
    rflags: regs.getBigUint64(rflagsAt, true),
    segments: segmentAt.map((at) => readSegment(sregs, at)),
    ldtr: readSegment(sregs, ldtrAt),
    tr: readSegment(sregs, trAt),
    gdtr: readTable(sregs, gdtrAt),
    idtr: readTable(sregs, idtrAt),
    cr0: control(controlAt.cr0),
    cr2: control(controlAt.cr2),
    cr3: control(controlAt.cr3),
    cr4: control(controlAt.cr4),
    cr8: control(controlAt.cr8),
    efer: control(controlAt.efer),
  };
}

/** Writes `struct kvm_regs`. */
export function writeRegs(regs: DataView, state: RegisterState): void {
  state.registers.forEach((value, index) => {
    regs.setBigUint64(registerAt[index] as number, value, true);
  });
  regs.setBigUint64(ripAt, state.rip, true);
  regs.setBigUint64(rflagsAt, state.rflags, true);
}

/** Writes `struct kvm_sregs`, but for IA32_APIC_BASE, which is the local APIC's. */
export function writeSregs(sregs: DataView, state: RegisterState): void {
  state.segments.forEach((segment, index) => {
    writeSegment(sregs, segmentAt[index] as number, segment);
  });
  writeSegment(sregs, ldtrAt, state.ldtr);
  writeSegment(sregs, trAt, state.tr);
  writeTable(sregs, gdtrAt, state.gdtr);
  writeTable(sregs, idtrAt, state.idtr);
  for (const name of ["cr0", "cr2", "cr3", "cr4", "cr8", "efer"] as const) {
    sregs.setBigUint64(controlAt[name], state[name], true);
  }
  // An interrupt whose delivery has begun is among the events.
  for (let word = 0; word < 4; word++) sregs.setBigUint64(interruptBitmapAt + 8 * word, 0n, true);
}

/** IA32_APIC_BASE, which KVM has beside the control registers. */
export function readApicBase(sregs: DataView): bigint {
  return sregs.getBigUint64(controlAt.apicBase, true);
}
export function writeApicBase(sregs: DataView, value: bigint): void {
  sregs.setBigUint64(controlAt.apicBase, value, true);
}

/** `struct kvm_segment`. */
function readSegment(view: DataView, at: number): SegmentState {
  const bit = (offset: number): number => view.getUint8(at + offset);
  const attributes =
    bit(14) |
    (bit(18) << 4) |
    (bit(16) << 5) |
    (bit(15) << 7) |
    (bit(21) << 12) |
    (bit(19) << 13) |
    (bit(17) << 14) |
    (bit(20) << 15);
  return {
    selector: view.getUint16(at + 12, true),
    base: view.getBigUint64(at, true),
    limit: view.getUint32(at + 8, true),
    attributes,
    unusable: bit(22) !== 0,
  };
}

function writeSegment(view: DataView, at: number, { selector, base, limit, attributes, unusable }: SegmentState): void {
  const bit = (place: number): number => (attributes >> place) & 1;
  view.setBigUint64(at, base, true);
  view.setUint32(at + 8, limit, true);
  view.setUint16(at + 12, selector, true);
  view.setUint8(at + 14, attributes & 15);
  // Present, DPL, D/B, S, L, G, AVL.
  [bit(7), (attributes >> 5) & 3, bit(14), bit(4), bit(13), bit(15), bit(12)].forEach((value, place) => {
    view.setUint8(at + 15 + place, value);
  });
  view.setUint8(at + 22, unusable ? 1 : 0);
}

/** `struct kvm_dtable`. */
function readTable(view: DataView, at: number): ProcessorState["gdtr"] {
  return { base: view.getBigUint64(at, true), limit: view.getUint16(at + 8, true) };
}

function writeTable(view: DataView, at: number, { base, limit }: ProcessorState["gdtr"]): void {
  view.setBigUint64(at, base, true);
  view.setUint16(at + 8, limit, true);
}
