/** A device with general-purpose events, by which other devices tell the guest's ACPI that something has happened (ACPI 6.5 §4.8.4.1). */
export interface GeneralEvents {
  /** Raises the event of that number, until the guest clears it. */
  raiseGeneralEvent(number: number): void;
}
