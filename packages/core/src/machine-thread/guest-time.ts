import type { ProcessorState } from "../processor-state.ts";
import type { StateOf } from "../state/schema.ts";
import { machineSection, type machineState, processorSection } from "./machine-state.ts";

const nanosecond = 1_000_000_000n;

/**
 * How time passes for a guest while it is in a checkpoint: `still`, it does not: the guest's monotonic clocks go on where they
 * stood; `advance`, as it does for the host: they are ahead by the time between save and load, as if the guest had been asleep.
 */
export type GuestTime = "still" | "advance";

/** Nanoseconds that a guest's clocks are to be moved ahead: never back, and not at all if it is not known when it was saved. */
export function elapsedTime(guestTime: GuestTime, savedAt: bigint, now: bigint): bigint {
  return guestTime === "still" || savedAt === 0n || now < savedAt ? 0n : now - savedAt;
}

/** A part's state with its clocks moved ahead; deadlines are absolute and stay. */
export function advanceState(
  id: string,
  state: Readonly<Record<string, unknown>>,
  elapsed: bigint,
): Readonly<Record<string, unknown>> {
  if (elapsed === 0n) return state;
  if (id === machineSection) {
    const { clock } = state as StateOf<typeof machineState>;
    return { ...state, clock: clock + elapsed };
  }
  if (id === processorSection) {
    const { tsc, tscFrequency, systemTime } = state as ProcessorState;
    const ticks = (elapsed * tscFrequency) / nanosecond;
    return { ...state, tsc: BigInt.asUintN(64, tsc + ticks), systemTime: systemTime + elapsed };
  }
  return state;
}
