/** Memory that the guest gives up and takes back as the host asks it to: what a device has that is a balloon. */
export interface Balloon {
  /** Bytes of RAM that the guest has left. */
  readonly actual: number;
  /** Asks the guest to have no more than that many bytes of RAM. It does so when it can, and tells how far it is. */
  setTarget(bytes: number): void;
  /** Called when {@link actual} has changed. Set by who wants to know. */
  onChange: (actual: number) => void;
}
