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
  "pause-before-switchover": { supported: "yes" },
  multifd: { supported: "yes" },
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
  "mapped-ram": { supported: "yes", recorded: true },
};

/** What must not be on, with QEMU's words for it. */
export interface CapabilityRule {
  /** The rule is broken if all of these are on … */
  readonly on: readonly string[];
  /** … and this one is off. */
  readonly without?: string;
  readonly reason: string;
}

/** What a background snapshot excludes, in the order in which QEMU looks. */
const withoutBackgroundSnapshot = [
  "postcopy-ram",
  "dirty-bitmaps",
  "postcopy-blocktime",
  "late-block-activate",
  "return-path",
  "multifd",
  "pause-before-switchover",
  "auto-converge",
  "release-ram",
  "rdma-pin-all",
  "xbzrle",
  "x-colo",
  "validate-uuid",
  "zero-copy-send",
] as const;

/** The rules that every set of capabilities keeps, in QEMU's order (migration/options.c, `migrate_caps_check`). */
export const capabilityRules: readonly CapabilityRule[] = [
  { on: ["postcopy-ram", "x-ignore-shared"], reason: "Postcopy is not compatible with ignore-shared" },
  ...withoutBackgroundSnapshot.map((name) => ({
    on: ["background-snapshot", name],
    reason: `Background-snapshot is not compatible with ${name}`,
  })),
  { on: ["postcopy-preempt"], without: "postcopy-ram", reason: "Postcopy preempt requires postcopy-ram" },
  {
    on: ["switchover-ack"],
    without: "return-path",
    reason: "Capability 'switchover-ack' requires capability 'return-path'",
  },
  { on: ["multifd", "xbzrle"], reason: "Multifd is not compatible with xbzrle" },
  { on: ["mapped-ram", "xbzrle"], reason: "Mapped-ram migration is incompatible with xbzrle" },
  { on: ["mapped-ram", "postcopy-ram"], reason: "Mapped-ram migration is incompatible with postcopy" },
];

/** The first rule that a set of capabilities breaks. */
export function brokenRule(enabled: ReadonlySet<string>): CapabilityRule | undefined {
  return capabilityRules.find(
    ({ on, without }) => on.every((name) => enabled.has(name)) && (without === undefined || !enabled.has(without)),
  );
}
