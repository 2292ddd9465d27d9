/** The states of a VM, in QEMU's words (QAPI RunState). */
export type RunState =
  | "prelaunch"
  | "running"
  | "paused"
  | "suspended"
  | "inmigrate"
  | "finish-migrate"
  | "postmigrate"
  | "shutdown"
  | "internal-error"
  | "guest-panicked";

const fromAny = [
  "running",
  "paused",
  "postmigrate",
  "prelaunch",
  "shutdown",
  "suspended",
  "internal-error",
  "guest-panicked",
] as const;

/** Which state may follow which (after QEMU's system/runstate.c). */
const transitions: Readonly<Record<RunState, readonly RunState[]>> = {
  prelaunch: ["running", "paused", "finish-migrate", "inmigrate", "suspended"],
  running: ["paused", "suspended", "finish-migrate", "shutdown", "internal-error", "guest-panicked"],
  paused: ["running", "suspended", "finish-migrate", "postmigrate", "prelaunch"],
  suspended: ["running", "paused", "finish-migrate", "prelaunch", "shutdown"],
  inmigrate: [
    "running",
    "paused",
    "suspended",
    "shutdown",
    "internal-error",
    "guest-panicked",
    "prelaunch",
    "postmigrate",
  ],
  "finish-migrate": fromAny,
  postmigrate: ["running", "suspended", "paused", "finish-migrate", "prelaunch"],
  shutdown: ["paused", "finish-migrate", "prelaunch"],
  "internal-error": ["paused", "finish-migrate", "prelaunch"],
  "guest-panicked": ["running", "paused", "finish-migrate", "prelaunch", "shutdown"],
};

/** Whether the VM may go from one state to the other. */
export function validTransition(from: RunState, to: RunState): boolean {
  return transitions[from].includes(to);
}

/** Whether the guest executes, or would if it were not asleep. */
export function isLive(state: RunState): boolean {
  return state === "running" || state === "suspended";
}

/** What `info status` prints after `VM status: `. */
export function describeRunState(state: RunState): string {
  return state === "running" ? "running" : state === "paused" ? "paused" : `paused (${state})`;
}
