import type { Kernel } from "../kernel.ts";
import { OutgoingRun, type OutgoingSubject } from "./outgoing-run.ts";
import type { StoredSettings } from "./settings.ts";
import { installedTransports } from "./transport-uri.ts";

/** What a save is rehearsed with. */
export interface Rehearsal {
  readonly kernel: Kernel;
  /** A VM whose machine was just built. */
  readonly subject: OutgoingSubject;
  readonly settings: StoredSettings;
  /** Fulfilled when there is time for it. */
  readonly idle: Promise<unknown>;
}

/**
 * Saves a VM as it was when it was built, without its RAM, to a place that keeps nothing. The VM notices nothing.
 *
 * JavaScript is compiled when it is first executed, which takes several times as long as executing it. After a rehearsal
 * no guest stands still for that.
 *
 * @returns whether the save was completed. If it was not, nothing is lost.
 */
export async function rehearseSave({ kernel, subject, settings, idle }: Rehearsal): Promise<boolean> {
  // Asked for at once, so that the machine does it before whatever else it is told.
  const states = subject.control.save();
  states.catch(() => undefined);
  await idle;
  const uri = (await installedTransports(kernel)).find(({ nowhere }) => nowhere !== undefined)?.nowhere;
  if (uri === undefined) {
    return false;
  }
  const { bootId, descriptors, devices, machine, name, processor, uuid } = subject;
  const run = await OutgoingRun.prepare(
    kernel,
    {
      ...{ bootId, descriptors, machine, name, processor, uuid },
      // Nobody will go on from it.
      devices: devices.map((device) => ({ ...device, noticesBranch: false })),
      blockers: [],
      blockDevices: [],
      control: { ...subject.control, save: () => states },
      ram: subject.ram.empty(),
      runState: "paused",
      migrationActive: false,
      stopForMigration: async () => ({ runState: "paused", wasSuspended: false }),
      resumeAfterMigration: async () => undefined,
      migrationCompleted: () => undefined,
    },
    settings.effective({ capabilities: [] }),
    uri,
    false,
    { status: () => undefined, pass: () => undefined },
  );
  await run.begin(() => undefined);
  await run.complete();
  return run.record.status === "completed";
}
