/** A device that has the machine's power button (ACPI 6.5 §4.8.3.1). */
export interface PowerButton {
  /** Presses it: the guest is told, if it listens, and shuts down when it likes. */
  pressPowerButton(): void;
}
