import { defineState, type StateOf, u16, u64 } from "@cpr/core";

/** State of the ACPI fixed hardware. The timer's count follows from the virtual clock. */
export const acpiPowerState = defineState("acpi-power", 1, {
  status: u16,
  enable: u16,
  control: u16,
  generalStatus: u16,
  generalEnable: u16,
  /** The tick of the power management timer, counted from virtual time 0, at which its highest bit changes next. */
  timerChange: u64,
});
export type AcpiPowerState = StateOf<typeof acpiPowerState>;
