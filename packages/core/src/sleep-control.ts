/**
 * How deep the machine sleeps (ACPI 6.5 §16.1): in `standby` (S1) vCPUs and devices keep what they have; in `memory` (S3) only RAM
 * does, and what runs on battery.
 */
export type SleepDepth = "standby" | "memory";

/** A device through which the guest puts the machine to sleep (ACPI 6.5 §4.8.3.2.1). */
export interface SleepControl {
  /** The sleep that the guest has asked for last. Part of the device's state, and gone after a reset. */
  readonly sleepDepth: SleepDepth;
  /** Lets the guest see that it has slept and is awake (WAK_STS, ACPI 6.5 §4.8.3.1.1). */
  noteWake(): void;
}
