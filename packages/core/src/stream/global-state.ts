import { streamErrors } from "../errors/stream-errors.ts";
import type { RunState } from "../runstate.ts";
import { type EncodedState, encodeState } from "../state/codec.ts";
import { bool, bytes, u32 } from "../state/fields.ts";
import { defineState, type StateOf } from "../state/schema.ts";

/** The runstate that the VM had when it was saved (QEMU: migration/global_state.c). */
export const globalState = defineState("globalstate", 1, {
  /** Length of the name of the runstate with the NUL that ends it. */
  size: u32,
  runstate: bytes(32),
  has_vm_was_suspended: bool,
  /** The VM was stopped while the guest was suspended. */
  vm_was_suspended: bool,
  unused: bytes(66),
});

export const globalStateName = "globalstate";

/** What the global state tells. */
export interface SavedRunState {
  readonly runState: RunState;
  readonly wasSuspended: boolean;
}

/** The runstates with which a VM can be saved. */
const saved: readonly RunState[] = [
  "running",
  "paused",
  "suspended",
  "prelaunch",
  "shutdown",
  "internal-error",
  "guest-panicked",
];

export function encodeGlobalState({ runState, wasSuspended }: SavedRunState): EncodedState {
  const runstate = new Uint8Array(32);
  runstate.set(new TextEncoder().encode(runState));
  return encodeState(globalStateName, globalState, {
    size: runState.length + 1,
    runstate,
    has_vm_was_suspended: true,
    vm_was_suspended: wasSuspended,
    unused: new Uint8Array(66),
  });
}

/** @throws {CprError} ERR_CPR_STATE_VALUE if it is no runstate with which a VM can be saved. */
export function interpretGlobalState(state: StateOf<typeof globalState>): SavedRunState {
  const name = new TextDecoder().decode(state.runstate.subarray(0, Math.max(state.size - 1, 0)));
  const runState = saved.find((each) => each === name);
  if (runState === undefined || state.size > 32) {
    throw streamErrors.ERR_CPR_STATE_VALUE({
      device: globalStateName,
      schema: globalState.name,
      problem: `has the runstate '${name}', in which a VM cannot go on`,
    });
  }
  return { runState, wasSuspended: state.vm_was_suspended || runState === "suspended" };
}
