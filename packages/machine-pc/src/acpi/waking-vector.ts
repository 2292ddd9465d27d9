import type { ProcessorState, SegmentState } from "@cpr/core";
import { facsSize } from "../layout.ts";

/** Fields of the FACS (ACPI 6.5 table 5.14). */
const field = { wakingVector: 12, extendedWakingVector: 24 } as const;

/** Where a guest wants to wake: in real mode below 1 MiB, or in protected mode with flat segments and without paging. */
export interface WakingVector {
  readonly mode: "real" | "protected";
  readonly address: number;
}

/** Why a guest cannot wake where it wants. */
export interface ImpossibleVector {
  readonly problem: string;
}

/**
 * Reads where the guest wants to wake from the FACS, which it has filled before it went to sleep (ACPI 6.5 §5.2.10). The 64-bit vector
 * takes precedence over the 32-bit one.
 *
 * @param ramEnd - the guest-physical address behind the RAM that begins at 0
 */
export function readWakingVector(facs: Uint8Array, ramEnd: number): WakingVector | ImpossibleVector {
  const view = new DataView(facs.buffer, facs.byteOffset, facsSize);
  const extended = view.getBigUint64(field.extendedWakingVector, true);
  const vector: WakingVector =
    extended === 0n
      ? { mode: "real", address: view.getUint32(field.wakingVector, true) }
      : { mode: "protected", address: Number(extended) };
  if (vector.address === 0) return { problem: "the guest slept and named no firmware waking vector to wake at" };
  const limit = vector.mode === "real" ? Math.min(ramEnd, 0x10_0000) : ramEnd;
  return vector.address < limit
    ? vector
    : { problem: `the guest slept and wants to wake at 0x${vector.address.toString(16)}, which is impossible` };
}

/** Segments of a vCPU, in the order of its state: ES CS SS DS FS GS. */
const codeSegment = 1;

/** A vCPU that wakes in real mode: CS:IP names the vector, and the rest is as after a reset (ACPI 6.5 §5.2.10). */
export function wakeInRealMode(reset: ProcessorState, address: number): ProcessorState {
  const segments = reset.segments.map(
    (segment, index): SegmentState =>
      index === codeSegment
        ? { ...segment, selector: address >> 4, base: BigInt(address & ~0xf), limit: 0xffff }
        : segment,
  );
  return { ...reset, segments, rip: BigInt(address & 0xf) };
}
