import type { MachineRequest } from "../device.ts";
import { u8, u64 } from "../state/fields.ts";
import { defineState, type Fields } from "../state/schema.ts";

const fields = {
  /** Virtual time in nanoseconds. */
  clock: u64,
  /** A request that was made but not yet fulfilled: 0 for none, else its place in {@link machineRequests}, from 1 on. */
  request: u8,
} as const satisfies Fields;

/** What belongs to the machine as a whole and to none of its devices. */
export const machineState = defineState(
  "machine",
  2,
  {
    ...fields,
    /** The host's wall clock when the state was saved: nanoseconds since 1970-01-01T00:00Z, 0 if it is not known. */
    savedAt: u64,
  },
  { 1: { fields, upgrade: (state) => ({ ...state, savedAt: 0n }) } },
);

/** The id of the section with {@link machineState}. */
export const machineSection = "machine";
/** The id of the sections with the states of the vCPUs, one instance for each. */
export const processorSection = "cpu";

/** A request after which the guest does not go on by itself. */
export type HaltingRequest = Exclude<MachineRequest, "wakeup">;

/** Requests by their number in {@link machineState}. */
export const machineRequests = [
  "reset",
  "shutdown",
  "suspend",
  "guest-panic",
] as const satisfies readonly HaltingRequest[];
