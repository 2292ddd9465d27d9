/** What is known about a migration capability of QEMU (QAPI MigrationCapability). */
export interface CapabilityDefinition {
  /**
   * - `yes`: it has its effect.
   * - `judged`: it can be switched on, but a migration with it is refused; by which words depends on the mode.
   * - `no`: switching it on is refused.
   */
  readonly supported: "yes" | "judged" | "no";
  /** It shapes the stream: recorded in it, and the same on both sides. */
  readonly recorded?: true;
}

/** All capabilities that QEMU has, in its order. */
export const capabilityDefinitions: Readonly<Record<string, CapabilityDefinition>> = {
  xbzrle: { supported: "no" },
  "rdma-pin-all": { supported: "no" },
  "auto-converge": { supported: "no" },
  events: { supported: "yes" },
  "postcopy-ram": { supported: "judged" },
  "x-colo": { supported: "judged" },
  "release-ram": { supported: "no" },
  "return-path": { supported: "no" },
  "pause-before-switchover": { supported: "no" },
  multifd: { supported: "no" },
  "dirty-bitmaps": { supported: "judged" },
  "postcopy-blocktime": { supported: "no" },
  "late-block-activate": { supported: "no" },
  "x-ignore-shared": { supported: "yes", recorded: true },
  "validate-uuid": { supported: "yes" },
  "background-snapshot": { supported: "judged" },
  "zero-copy-send": { supported: "no" },
  "postcopy-preempt": { supported: "no" },
  "switchover-ack": { supported: "no" },
  "dirty-limit": { supported: "no" },
  "mapped-ram": { supported: "no", recorded: true },
};

/** Capabilities that exclude each other, with QEMU's words. */
export const capabilityConflicts: readonly { readonly pair: readonly [string, string]; readonly reason: string }[] = [
  { pair: ["postcopy-ram", "x-ignore-shared"], reason: "Postcopy is not compatible with ignore-shared" },
  { pair: ["background-snapshot", "postcopy-ram"], reason: "Background-snapshot is not compatible with postcopy-ram" },
  {
    pair: ["background-snapshot", "dirty-bitmaps"],
    reason: "Background-snapshot is not compatible with dirty-bitmaps",
  },
  {
    pair: ["background-snapshot", "x-ignore-shared"],
    reason: "Background-snapshot is not compatible with x-ignore-shared",
  },
  {
    pair: ["background-snapshot", "validate-uuid"],
    reason: "Background-snapshot is not compatible with validate-uuid",
  },
];
