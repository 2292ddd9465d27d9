import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { requests } from "../src/ioctl.ts";
import { capability, neededExtensions } from "../src/kvm-device.ts";
import { exitReason } from "../src/run-page.ts";

/** Compiles a C program that prints constants of the kernel's header, and returns their values. */
function constants(names: readonly string[]): ReadonlyMap<string, number> {
  const folder = mkdtempSync(join(tmpdir(), "cpr-kvm-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const lines = names.map((name) => `printf("%s %lu\\n", "${name}", (unsigned long)(${name}));`);
  const source = join(folder, "constants.c");
  const head = "#include <linux/kvm.h>\n#include <stddef.h>\n#include <stdio.h>\n";
  writeFileSync(source, `${head}int main(void) {\n${lines.join("\n")}\n}\n`);
  const program = join(folder, "constants");
  const { status, stderr } = spawnSync("gcc", ["-o", program, source], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  const output = spawnSync(program, { encoding: "utf8" }).stdout.trim().split("\n");
  return new Map(names.map((name, index) => [name, Number(output[index]?.slice(name.length + 1))]));
}

test("requests have the numbers of the kernel's header", () => {
  const all = Object.values(requests);
  const known = constants(all.map(({ name }) => name));
  expect(new Map(all.map(({ name, code }) => [name, code]))).toEqual(known);
});

test("extensions have the numbers of the kernel's header", () => {
  expect(new Map(Object.entries(neededExtensions))).toEqual(constants(Object.keys(neededExtensions)));
  const names = { tscControl: "KVM_CAP_TSC_CONTROL", tscDeadlineTimer: "KVM_CAP_TSC_DEADLINE_TIMER" } as const;
  const known = constants(Object.values(names));
  for (const [key, name] of Object.entries(names)) {
    expect(capability[key as keyof typeof names]).toBe(known.get(name));
  }
});

test("exits have the numbers of the kernel's header", () => {
  const names = {
    unknown: "KVM_EXIT_UNKNOWN",
    io: "KVM_EXIT_IO",
    mmio: "KVM_EXIT_MMIO",
    irqWindowOpen: "KVM_EXIT_IRQ_WINDOW_OPEN",
    shutdown: "KVM_EXIT_SHUTDOWN",
    failEntry: "KVM_EXIT_FAIL_ENTRY",
    interrupted: "KVM_EXIT_INTR",
    internalError: "KVM_EXIT_INTERNAL_ERROR",
    ioapicEoi: "KVM_EXIT_IOAPIC_EOI",
  } as const satisfies Record<keyof typeof exitReason, string>;
  const known = constants(Object.values(names));
  for (const [key, name] of Object.entries(names)) {
    expect([name, exitReason[key as keyof typeof names]]).toEqual([name, known.get(name)]);
  }
});

test("structures have the places of the kernel's header", () => {
  const known = constants([
    "offsetof(struct kvm_run, io)",
    "offsetof(struct kvm_run, mmio.len)",
    "offsetof(struct kvm_run, io.data_offset)",
    "offsetof(struct kvm_run, internal.data)",
    "offsetof(struct kvm_run, ready_for_interrupt_injection)",
    "offsetof(struct kvm_sregs, gdt)",
    "offsetof(struct kvm_sregs, apic_base)",
    "offsetof(struct kvm_sregs, interrupt_bitmap)",
    "offsetof(struct kvm_segment, unusable)",
    "offsetof(struct kvm_vcpu_events, flags)",
    "offsetof(struct kvm_ioeventfd, fd)",
    "offsetof(struct kvm_irq_routing_entry, u.msi.data)",
    "sizeof(struct kvm_irq_routing_entry)",
    "sizeof(struct kvm_cpuid_entry2)",
    "sizeof(struct kvm_msr_entry)",
  ]);
  expect([...known.values()]).toEqual([32, 48, 40, 40, 12, 192, 272, 280, 22, 20, 20, 24, 48, 40, 16]);
});
