import type { BlockableMachine, MigrationBlock, MigrationBlocker } from "../migration-blocker.ts";
import type { MigrationSubject } from "./subject.ts";

/** What keeps a VM from being saved in a mode, and who says so. */
export interface Blocked {
  /** For people: `Device 'com1'`. */
  readonly by: string;
  readonly reason: string;
}

/** All that keeps a VM from being saved in a mode now: devices first, then what plugins say. */
export function blockedBy(subject: MigrationSubject, mode: string): readonly Blocked[] {
  const machine: BlockableMachine = {
    name: subject.name,
    machine: subject.machine,
    memory: subject.ram.blocks.map(({ id, backing: { location, supports } }) => ({ id, location, supports })),
  };
  const said = [
    ...subject.devices.map(({ id, blocked }) => ({
      by: `Device '${id}'`,
      blocks: blocked === undefined ? [] : [blocked],
    })),
    ...subject.blockers.map((blocker) => ({ by: `The blocker '${blocker.name}'`, blocks: ask(blocker, machine) })),
  ];
  return said.flatMap(({ by, blocks }) =>
    blocks.filter(({ modes }) => modes === "all" || modes.includes(mode)).map(({ reason }) => ({ by, reason })),
  );
}

/** A blocker that cannot answer blocks: nobody knows whether the VM may be saved. */
function ask(blocker: MigrationBlocker, machine: BlockableMachine): readonly MigrationBlock[] {
  try {
    return blocker.blocks(machine);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ modes: "all", reason: `The migration blocker '${blocker.name}' failed: ${reason}` }];
  }
}
