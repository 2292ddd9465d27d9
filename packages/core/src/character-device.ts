/**
 * The host's side of a character device (QEMU: chardev), as seen from the machine thread. Bytes written are handed
 * to the control plane in order; none is lost when the VM stops.
 */
export interface CharacterDevice {
  /**
   * Somebody is at the other end: always so for a file or a terminal, and for a socket while a client is connected. It
   * stays so until what was sent before the end has been read.
   */
  readonly opened: boolean;
  /** Bytes of input that wait to be read. */
  readonly waiting: number;
  /**
   * The other end keeps up. A device that finds this false leaves output with the guest until {@link onWritable}; what it
   * writes nevertheless is kept too, up to a limit beyond which it is lost, as on a line without flow control.
   */
  readonly writable: boolean;
  /** Sends guest output to the host. The bytes are copied. */
  write(bytes: Uint8Array): void;
  /** Takes up to `limit` bytes of input, which are the caller's; none if none wait. */
  read(limit: number): Uint8Array;
  /** Tells the host that the guest listens, or does not any more. It counts as listening at first. */
  setListening(listening: boolean): void;
  /** Called when input has arrived where there was none. Set by the device. */
  onInput: () => void;
  /** Called when {@link opened} has changed. Set by the device. */
  onOpened: () => void;
  /** Called when {@link writable} has become true again. Set by the device. */
  onWritable: () => void;
}
