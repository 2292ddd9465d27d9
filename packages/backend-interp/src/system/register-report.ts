import type { SystemProcessor } from "./system-processor.ts";

const names = ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI"];
const segmentNames = ["ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"];
const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, "0");

/** The registers in readable form: what is left of a guest after a triple fault. */
export function describeRegisters(processor: SystemProcessor): string {
  const { registers } = processor;
  const lines = [
    `RIP=${hex(registers.rip, 16)} RFL=${hex(processor.readFlags(), 8)} CPL=${registers.cpl}`,
    ...[0, 4, 8, 12].map((first) =>
      [0, 1, 2, 3]
        .map((offset) => first + offset)
        .map((index) => `${names[index] ?? `R${index}`.padEnd(3)}=${hex(registers.read(index), 16)}`)
        .join(" "),
    ),
    ...segmentNames.map((name, index) => {
      const { selector, base, limit, attributes } = registers.readSegment(index);
      return `${name.padEnd(4)}=${hex(selector, 4)} ${hex(base, 16)} ${hex(limit, 8)} ${hex(attributes, 4)}`;
    }),
    `GDT =     ${hex(registers.gdtr.base, 16)} ${hex(registers.gdtr.limit, 8)}`,
    `IDT =     ${hex(registers.idtr.base, 16)} ${hex(registers.idtr.limit, 8)}`,
    `CR0=${hex(registers.cr0, 8)} CR2=${hex(registers.cr2, 16)} CR3=${hex(registers.cr3, 16)} CR4=${hex(registers.cr4, 8)}`,
    `EFER=${hex(registers.efer, 8)}`,
  ];
  return lines.join("\n");
}
