import { cr0At, cr4At, eferAt, eflagsAt, privilegeAt, segmentField, segmentSize, segmentsAt } from "../layout.ts";
import type { CoreMemory, Mode } from "../processor-interface.ts";
import { attribute, cr0, cr4, efer, flag } from "../system/architecture.ts";

/**
 * Bits of a mode's number. Two of them choose the width of the code (0: 16 bit, 1: 32 bit, 2: 64 bit); two say
 * whether SSE instructions may execute (0: yes, 1: #UD, 2: #NM).
 */
const bit = { code: 0, stack32: 2, flat: 3, protectedMode: 4, user: 5, vectors: 6 } as const;
const vectorsAllowed = ["yes", "ud", "nm"] as const;

/** How many mode numbers there are. */
export const modeCount = 256;

const modes: (Mode | undefined)[] = new Array(modeCount).fill(undefined);

/** The mode of a number; the same object each time. */
export function modeOf(number: number): Mode {
  const known = modes[number];
  if (known !== undefined) return known;
  const code = number & 3;
  const mode: Mode = {
    number,
    long: code === 2,
    size: code === 1 ? 4 : 2,
    stackSize: code === 2 ? 8 : (number >> bit.stack32) & 1 ? 4 : 2,
    flat: ((number >> bit.flat) & 1) !== 0,
    protectedMode: ((number >> bit.protectedMode) & 1) !== 0,
    user: ((number >> bit.user) & 1) !== 0,
    vectorsAllowed: vectorsAllowed[(number >> bit.vectors) & 3] ?? "ud",
  };
  modes[number] = mode;
  return mode;
}

/** What makes a mode; {@link modeFor} takes it from the registers. */
export interface ModeFacts {
  readonly code: 16 | 32 | 64;
  /** SS.B; ignored in 64-bit mode. */
  readonly stack32?: boolean;
  readonly flat?: boolean;
  readonly protectedMode?: boolean;
  readonly user?: boolean;
  readonly vectors?: Mode["vectorsAllowed"];
}

/** The mode with these properties. 64-bit mode is always flat and protected. */
export function modeWith(facts: ModeFacts): Mode {
  const long = facts.code === 64;
  let number = (long ? 2 : facts.code === 32 ? 1 : 0) << bit.code;
  if (!long && facts.stack32 === true) number |= 1 << bit.stack32;
  if (long || facts.flat === true) number |= 1 << bit.flat;
  if (long || facts.protectedMode === true) number |= 1 << bit.protectedMode;
  if (facts.user === true) number |= 1 << bit.user;
  return modeOf(number | (vectorsAllowed.indexOf(facts.vectors ?? "yes") << bit.vectors));
}

/** Whether a segment is an ordinary one with base 0 and limit 4 GiB that may be read (code) or read and written (data). */
function isFlat(core: CoreMemory, index: number): boolean {
  const at = segmentsAt + index * segmentSize;
  const attributes = core.u16[(at + segmentField.attributes) >> 1] as number;
  const isCode = (attributes & attribute.code) !== 0;
  return (
    core.u32[(at + segmentField.base) >> 2] === 0 &&
    core.u32[(at + segmentField.base + 4) >> 2] === 0 &&
    core.u32[(at + segmentField.limit) >> 2] === 0xffff_ffff &&
    core.u32[(at + segmentField.unusable) >> 2] === 0 &&
    (attributes & attribute.readWrite) !== 0 &&
    isCode === (index === 1) &&
    // NOTE: an expand-down segment with this limit has no valid offset at all.
    (isCode || (attributes & attribute.conforming) === 0)
  );
}

/**
 * The current mode, from CS, SS, DS, ES, CR0, CR4, EFER, RFLAGS.VM and CPL in the core memory. To be computed anew
 * after any of them changed.
 */
export function modeFor(core: CoreMemory): Mode {
  const control = core.u32[cr0At >> 2] as number;
  const codeAttributes = core.u16[(segmentsAt + segmentSize + segmentField.attributes) >> 1] as number;
  const stackAttributes = core.u16[(segmentsAt + 2 * segmentSize + segmentField.attributes) >> 1] as number;
  const long =
    ((core.u32[eferAt >> 2] as number) & efer.longModeActive) !== 0 && (codeAttributes & attribute.long) !== 0;
  const fxsave = ((core.u32[cr4At >> 2] as number) & cr4.fxsave) !== 0;
  return modeWith({
    code: long ? 64 : (codeAttributes & attribute.big) !== 0 ? 32 : 16,
    stack32: (stackAttributes & attribute.big) !== 0,
    flat: !long && isFlat(core, 0) && isFlat(core, 1) && isFlat(core, 2) && isFlat(core, 3),
    protectedMode: (control & cr0.protection) !== 0 && ((core.u32[eflagsAt >> 2] as number) & flag.virtual8086) === 0,
    user: core.u32[privilegeAt >> 2] === 3,
    vectors: (control & cr0.emulation) !== 0 || !fxsave ? "ud" : (control & cr0.taskSwitched) !== 0 ? "nm" : "yes",
  });
}
