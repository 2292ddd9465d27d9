import type { ProcessorState, SegmentState } from "./processor-state.ts";

const names = ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI"];
const segmentNames = ["ES", "CS", "SS", "DS", "FS", "GS"];
const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, "0");

/** A vCPU's registers in readable form, after QEMU's `info registers`: what is left of a guest that cannot go on. */
export function describeProcessor(state: ProcessorState): string {
  const privilege = ((state.segments[2]?.attributes ?? 0) >> 5) & 3;
  const segment = (name: string, { selector, base, limit, attributes }: SegmentState): string =>
    `${name.padEnd(4)}=${hex(selector, 4)} ${hex(base, 16)} ${hex(limit, 8)} ${hex(attributes, 4)}`;
  const table = (name: string, { base, limit }: ProcessorState["gdtr"]): string =>
    `${name} =     ${hex(base, 16)} ${hex(limit, 8)}`;
  return [
    `RIP=${hex(state.rip, 16)} RFL=${hex(state.rflags, 8)} CPL=${privilege} activity=${state.activity}`,
    ...[0, 4, 8, 12].map((first) =>
      [0, 1, 2, 3]
        .map((offset) => first + offset)
        .map((index) => `${names[index] ?? `R${index}`.padEnd(3)}=${hex(state.registers[index] ?? 0n, 16)}`)
        .join(" "),
    ),
    ...segmentNames.map((name, index) => segment(name, state.segments[index] as SegmentState)),
    segment("LDTR", state.ldtr),
    segment("TR", state.tr),
    table("GDT", state.gdtr),
    table("IDT", state.idtr),
    `CR0=${hex(state.cr0, 8)} CR2=${hex(state.cr2, 16)} CR3=${hex(state.cr3, 16)} CR4=${hex(state.cr4, 8)}`,
    `EFER=${hex(state.efer, 8)}`,
  ].join("\n");
}
