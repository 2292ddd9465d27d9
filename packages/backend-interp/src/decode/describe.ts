import { helperNames } from "../helper-names.ts";
import {
  blockField,
  blockHeaderSize,
  blockRipSlot,
  registersAt,
  segmentSize,
  segmentsAt,
  temporariesAt,
  vectorTemporariesAt,
  xmmAt,
  zeroSlot,
} from "../layout.ts";
import { field, legacyAddress, operationFlag, operationNames, operationSize } from "../operations.ts";
import type { CoreMemory } from "../processor-interface.ts";
import { vectorOperations } from "../vector-operations.ts";

const registerNames = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
const segmentNames = ["es", "cs", "ss", "ds", "fs", "gs"];
const hex = (value: number | bigint): string => (value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

/** Name of a slot; `immediateAt` is the address of the operation's own immediate. */
function slotName(slot: number, immediateAt: number): string {
  if (slot === 0) return "-";
  if (slot === zeroSlot) return "zero";
  if (slot === blockRipSlot) return "rip";
  if (slot === immediateAt) return "#";
  const within = (start: number, size: number, count: number): number =>
    slot >= start && slot < start + size * count ? slot - start : -1;
  const register = within(registersAt, 8, 16);
  if (register >= 0) return `${registerNames[register >> 3] ?? `r${register >> 3}`}${register % 8 === 1 ? "+1" : ""}`;
  const temporary = within(temporariesAt, 8, 8);
  if (temporary >= 0) return `t${temporary >> 3}`;
  const xmm = within(xmmAt, 16, 16);
  if (xmm >= 0) return `xmm${xmm >> 4}${xmm % 16 === 8 ? "+8" : ""}`;
  const vector = within(vectorTemporariesAt, 16, 4);
  if (vector >= 0) return `v${vector >> 4}`;
  const segment = within(segmentsAt, segmentSize, 6);
  if (segment >= 0) return `${segmentNames[segment / segmentSize]}.base`;
  return hex(slot);
}

/** One line that says what the operation at an address in the core memory does: for tests and debugging. */
export function describeOperation(core: CoreMemory, at: number): string {
  const word = (offset: number): number => core.u32[(at + offset) >> 2] as number;
  const name = operationNames[core.u16[(at + field.kind) >> 1] as number] ?? "?";
  const slot = (offset: number): string => slotName(word(offset), at + field.immediate);
  const auxiliary = core.u16[(at + field.auxiliary) >> 1] as number;
  const displacement = core.i32[(at + field.displacement) >> 2] as number;
  const immediate = BigInt.asIntN(64, core.u64[(at + field.immediate) >> 3] as bigint);
  const flags = core.u8[at + field.flags] as number;
  const skipped = flags >> operationFlag.skippedShift;
  const parts = [skipped === 0 ? name : `(${skipped} skipped) ${name}`];
  if (name === "helper") {
    // Fields of a helper hold slots or small numbers.
    const value = (offset: number): string => (word(offset) < registersAt ? hex(word(offset)) : slot(offset));
    const helper = helperNames[auxiliary];
    const what = helper === "vector-rare" ? ` ${vectorOperations[Number(immediate)]?.name}` : "";
    parts.push(`${helper}${what} size=${core.u8[at + field.scale]}`);
    if (word(field.destination) !== 0) parts.push(`d=${value(field.destination)}`);
    if (word(field.source) !== 0) parts.push(`s=${value(field.source)}`);
    if (word(field.index) !== 0) parts.push(`index=${value(field.index)}`);
    if (word(field.base) !== 0) parts.push(`base=${value(field.base)}`);
    if (immediate !== 0n && what === "") parts.push(`#=${hex(immediate)}`);
    return parts.join(" ");
  }
  if (name === "vector") parts.push(vectorOperations[auxiliary]?.name ?? "?");
  if (word(field.destination) !== 0) parts.push(slot(field.destination));
  if (word(field.source) !== 0) parts.push(slot(field.source));
  const isAddress = /-(base|full|legacy)$/.test(name) || name.startsWith("lea");
  const isJump = /^(jump|call|loop|end|return)/.test(name);
  if (isAddress) {
    const terms = [field.segment, field.base].map(slot).filter((term) => term !== "zero");
    if (word(field.index) !== zeroSlot)
      terms.push(`${slot(field.index)}*${1 << (core.u8[at + field.scale] as number)}`);
    parts.push(`[${[...terms, hex(displacement)].join(" + ")}]`);
    if (name.endsWith("-legacy")) {
      const bits = 16 << ((auxiliary >> legacyAddress.sizeShift) & 3);
      const marks = `${auxiliary & legacyAddress.wrap ? " wrap" : ""}${auxiliary & legacyAddress.check ? " check" : ""}`;
      parts.push(`(${segmentNames[auxiliary & legacyAddress.segmentMask]} ${bits}${marks})`);
    }
  } else if (isJump) {
    if (name === "loop64") parts.push(["ne", "e", "always", "rcx-zero"][auxiliary] ?? "?");
    parts.push(`-> ${hex(displacement)}`);
    if (flags & operationFlag.linkable) parts.push("linkable");
    if (flags & operationFlag.linkableNotTaken) parts.push("linkable-not-taken");
  } else if (name !== "vector" && auxiliary !== 0) {
    parts.push(`if=${auxiliary}`);
  }
  if (/^shift-double/.test(name)) parts.push(`by ${slot(field.base)}`);
  if (immediate !== 0n) parts.push(`#=${hex(immediate)}`);
  return parts.join(" ");
}

/** {@link describeOperation} of all operations of a block. */
export function describeBlock(core: CoreMemory, block: number): string[] {
  const count = core.u32[(block + blockField.operations) >> 2] as number;
  return Array.from({ length: count }, (_, index) =>
    describeOperation(core, block + blockHeaderSize + index * operationSize),
  );
}
