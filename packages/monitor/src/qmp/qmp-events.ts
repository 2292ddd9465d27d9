import type { VirtualMachineEvent } from "@cpr/core";

/** An event as QMP's clients get it. */
export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

/** Makes QMP's events of what has happened to the VM just now: QEMU's names and data. */
export function qmpEvents(event: VirtualMachineEvent): readonly QmpEvent[] {
  const microseconds = Math.trunc((performance.timeOrigin + performance.now()) * 1000);
  const timestamp = { seconds: Math.trunc(microseconds / 1e6), microseconds: microseconds % 1e6 };
  return named(event).map((each) => ({ ...each, timestamp }));
}

function named(event: VirtualMachineEvent): readonly Omit<QmpEvent, "timestamp">[] {
  switch (event.event) {
    case "RESET": {
      const { guest } = event;
      return [{ event: "RESET", data: { guest, reason: guest ? "guest-reset" : "host-qmp-system-reset" } }];
    }
    case "SHUTDOWN":
      return [{ event: "SHUTDOWN", data: { guest: event.guest, reason: event.reason } }];
    case "GUEST_PANICKED":
      return [{ event: "GUEST_PANICKED", data: { action: "poweroff" } }];
    case "INTERNAL_ERROR":
      // QEMU only stops the VM then; the second one is ours.
      return [{ event: "STOP" }, { event: "X_INTERNAL_ERROR", data: { report: event.report } }];
    case "BLOCK_IO_ERROR": {
      const { device, operation, noSpace: nospace, reason } = event;
      return [
        {
          event: "BLOCK_IO_ERROR",
          data: { device, "node-name": device, operation, action: "report", nospace, reason },
        },
      ];
    }
    case "DEVICE_NEEDS_RESET":
      // QEMU says it on standard error only.
      return [{ event: "X_DEVICE_NEEDS_RESET", data: { device: event.device, reason: event.reason } }];
    case "BALLOON_CHANGE":
      return [{ event: "BALLOON_CHANGE", data: { actual: event.actual } }];
    case "VSERPORT_CHANGE":
      return [{ event: "VSERPORT_CHANGE", data: { id: event.id, open: event.open } }];
    case "MIGRATION":
      return [{ event: "MIGRATION", data: { status: event.status } }];
    case "MIGRATION_PASS":
      return [{ event: "MIGRATION_PASS", data: { pass: event.pass } }];
    default:
      return [{ event: event.event }];
  }
}
