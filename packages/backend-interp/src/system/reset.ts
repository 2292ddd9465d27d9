import { processorSignature } from "@cpr/core";
import { resetFloat } from "../float/index.ts";
import { interruptShadowAt, xcr0At } from "../layout.ts";
import { cr0, register, segment } from "./architecture.ts";
import { storeFlags } from "./flags.ts";
import type { SegmentValue } from "./registers.ts";
import type { SystemProcessor } from "./system-processor.ts";

const data: SegmentValue = { selector: 0, base: 0n, limit: 0xffff, attributes: 0x93, unusable: false };

/**
 * Puts the registers in their state after power-up or, with `init`, after INIT (Intel SDM Vol. 3A table 10-1): INIT leaves the
 * floating-point unit, the model-specific registers, the time-stamp counter and the cache bits of CR0.
 */
export function resetRegisters(processor: SystemProcessor, init: boolean): void {
  const { registers, core } = processor;
  for (let index = 0; index < 16; index++) {
    registers.write(index, 0n);
  }
  registers.write(register.rdx, BigInt(processorSignature));
  storeFlags(core.u32, 2);
  registers.rip = 0xfff0n;
  for (let index = 0; index < 6; index++) {
    registers.writeSegment(index, data);
  }
  registers.writeSegment(segment.cs, { ...data, selector: 0xf000, base: 0xffff_0000n, attributes: 0x9b });
  registers.writeSegment(segment.ldtr, { ...data, attributes: 0x82 });
  registers.writeSegment(segment.tr, { ...data, attributes: 0x8b });
  registers.gdtr = { base: 0n, limit: 0xffff };
  registers.idtr = { base: 0n, limit: 0xffff };
  const cacheBits = cr0.cacheDisable | cr0.notWriteThrough;
  registers.cr0 = cr0.extensionType | (init ? registers.cr0 & cacheBits : cacheBits);
  registers.cr2 = 0n;
  registers.cr3 = 0n;
  registers.cr4 = 0;
  registers.efer = 0;
  for (let index = 0; index < 8; index++) {
    registers.setDebug(index, 0n);
  }
  registers.setDebug(6, 0xffff_0ff0n);
  registers.setDebug(7, 0x400n);
  core.u32[interruptShadowAt >> 2] = 0;
  if (!init) {
    core.u64[xcr0At >> 3] = 1n;
    processor.modelRegisters.reset();
    resetFloat(processor);
  }
  processor.setPrivilege(0);
  processor.breakpointsChanged();
  processor.flushTranslations(false);
  processor.modeChanged();
}

/** Where a start-up IPI makes a processor begin (Intel SDM Vol. 3A §9.4.3). */
export function startAt(processor: SystemProcessor, page: number): void {
  const { registers } = processor;
  registers.writeSegment(segment.cs, {
    ...data,
    selector: page << 8,
    base: BigInt(page) << 12n,
    attributes: 0x9b,
  });
  registers.rip = 0n;
  processor.modeChanged();
}
