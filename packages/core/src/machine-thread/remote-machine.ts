import type { SerializedError } from "../errors.ts";
import type { PluginRecord } from "../plugin-record.ts";
import type { MachineControl, MachineEvent } from "./machine-control.ts";

/** The calls that cross to the machine thread. */
export type MachineMethod = keyof MachineControl;

/** A call, from the main thread to the machine thread. */
export interface MachineCall {
  readonly call: number;
  readonly method: MachineMethod;
  readonly parameters: readonly unknown[];
}

/** What the machine thread sends: the answer of a call, or an event. */
export type MachineMessage =
  | { readonly call: number; readonly result: unknown }
  | { readonly call: number; readonly error: SerializedError }
  | { readonly event: MachineEvent };

/** The first message to the machine thread. */
export interface MachineThreadData {
  readonly plugins: readonly PluginRecord[];
  /** Plugins' contributions that are loaded at once, while the main thread is busy otherwise: [extension point, key]. */
  readonly preload: readonly (readonly [point: string, key: string])[];
}
