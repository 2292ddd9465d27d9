import type { DeviceCheckpoint, Fields, StateSchema, ValuesOf } from "@cpr/core";

/** A device's checkpoint with the types that its schema gives. */
export function stateCheckpoint<F extends Fields>(
  schema: StateSchema<F>,
  save: () => ValuesOf<F>,
  restore: (state: ValuesOf<F>) => void,
): DeviceCheckpoint {
  return {
    kind: "state",
    schema,
    save,
    restore: (state) => restore(state as ValuesOf<F>),
  };
}
