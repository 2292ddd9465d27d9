/**
 * The host's side of a character device (QEMU: chardev), as seen from the machine thread. Bytes written are handed
 * to the control plane in order; none is lost when the VM stops.
 */
export interface CharacterDevice {
  /** Sends guest output to the host. */
  write(byte: number): void;
  /** Takes one byte of input, or undefined if there is none. */
  read(): number | undefined;
  /** Called when input has arrived where there was none. Set by the device. */
  onInput: () => void;
}
