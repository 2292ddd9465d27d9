import type { ProcessorState } from "@cpr/core";

/** Places in `struct kvm_vcpu_events` (KVM api.rst §4.31). */
const at = {
  exceptionInjected: 0,
  exceptionVector: 1,
  exceptionHasErrorCode: 2,
  exceptionErrorCode: 4,
  interruptInjected: 8,
  interruptVector: 9,
  interruptSoft: 10,
  shadow: 11,
  nmiInjected: 12,
  nmiPending: 13,
  nmiMasked: 14,
  sipiVector: 16,
  flags: 20,
} as const;

/** KVM_VCPUEVENT_VALID_NMI_PENDING and KVM_VCPUEVENT_VALID_SHADOW. */
const validFields = 1 | 4;
/** KVM_X86_SHADOW_INT_MOV_SS and KVM_X86_SHADOW_INT_STI. */
const shadow = { movSs: 1, sti: 2 } as const;
/** Bits of `interruptShadow`, and values of `pendingEvent.kind`, in the neutral state. */
const neutralShadow = { sti: 1, movSs: 2 } as const;
const kind = { interrupt: 0, nmi: 2, exception: 3, software: 4 } as const;

/** What of a vCPU's state is in its events. */
export type EventState = Pick<ProcessorState, "interruptShadow" | "nmiMasked" | "nmiPending" | "pendingEvent">;

/** Reads `struct kvm_vcpu_events`. */
export function readEvents(view: DataView): EventState {
  const held = view.getUint8(at.shadow);
  return {
    interruptShadow:
      ((held & shadow.sti) !== 0 ? neutralShadow.sti : 0) | ((held & shadow.movSs) !== 0 ? neutralShadow.movSs : 0),
    nmiMasked: view.getUint8(at.nmiMasked) !== 0,
    nmiPending: view.getUint8(at.nmiPending) !== 0,
    pendingEvent: readPendingEvent(view),
  };
}

function readPendingEvent(view: DataView): ProcessorState["pendingEvent"] {
  const event = (vector: number, eventKind: number): ProcessorState["pendingEvent"] => ({
    valid: true,
    vector,
    kind: eventKind,
    hasErrorCode: false,
    errorCode: 0,
  });
  if (view.getUint8(at.exceptionInjected) !== 0) {
    const hasErrorCode = view.getUint8(at.exceptionHasErrorCode) !== 0;
    return {
      ...event(view.getUint8(at.exceptionVector), kind.exception),
      hasErrorCode,
      errorCode: hasErrorCode ? view.getUint32(at.exceptionErrorCode, true) : 0,
    };
  }
  if (view.getUint8(at.nmiInjected) !== 0) {
    return event(2, kind.nmi);
  }
  if (view.getUint8(at.interruptInjected) !== 0) {
    const soft = view.getUint8(at.interruptSoft) !== 0;
    return event(view.getUint8(at.interruptVector), soft ? kind.software : kind.interrupt);
  }
  return { valid: false, vector: 0, kind: 0, hasErrorCode: false, errorCode: 0 };
}

/** Writes `struct kvm_vcpu_events`. */
export function writeEvents({ interruptShadow, nmiMasked, nmiPending, pendingEvent }: EventState): DataView {
  const view = new DataView(new ArrayBuffer(64));
  const { valid, vector, hasErrorCode, errorCode } = pendingEvent;
  const flag = (place: number, on: boolean): void => view.setUint8(place, on ? 1 : 0);
  if (valid && pendingEvent.kind === kind.exception) {
    flag(at.exceptionInjected, true);
    view.setUint8(at.exceptionVector, vector);
    flag(at.exceptionHasErrorCode, hasErrorCode);
    view.setUint32(at.exceptionErrorCode, errorCode, true);
  } else if (valid && pendingEvent.kind === kind.nmi) {
    flag(at.nmiInjected, true);
  } else if (valid) {
    flag(at.interruptInjected, true);
    view.setUint8(at.interruptVector, vector);
    flag(at.interruptSoft, pendingEvent.kind === kind.software);
  }
  view.setUint8(
    at.shadow,
    ((interruptShadow & neutralShadow.sti) !== 0 ? shadow.sti : 0) |
      ((interruptShadow & neutralShadow.movSs) !== 0 ? shadow.movSs : 0),
  );
  flag(at.nmiPending, nmiPending);
  flag(at.nmiMasked, nmiMasked);
  view.setUint32(at.flags, validFields, true);
  return view;
}
