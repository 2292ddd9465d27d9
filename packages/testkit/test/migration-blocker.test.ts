import type { BlockableMachine, MigrationBlock, MigrationBlocker } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { migrationBlockerCases, migrationBlockerCompliance } from "../src/migration-blocker.ts";
import { failingCases } from "./failing-cases.ts";

let held = false;

const block = async () => {
  held = true;
  return async () => {
    held = false;
  };
};

/** Blocks while it is held. */
class HeldBlocker implements MigrationBlocker {
  readonly name: string = "held";
  readonly summary: string = "Blocks while it is held.";

  blocks(_machine: BlockableMachine): readonly MigrationBlock[] {
    return held ? [{ modes: "all", reason: "It is held" }] : [];
  }
}

migrationBlockerCompliance({ name: "held", create: () => new HeldBlocker(), block });

let count = 0;

const broken: Record<string, { readonly blocker: new () => MigrationBlocker; readonly noticedBy: string[] }> = {
  "says nothing about itself": {
    blocker: class extends HeldBlocker {
      override readonly summary = "";
    },
    noticedBy: ["has its name, and one line about itself"],
  },
  "never blocks": {
    blocker: class extends HeldBlocker {
      override blocks() {
        return [];
      }
    },
    noticedBy: ["says what blocks, in which modes, each with a sentence", "blocks only as long as there is a reason"],
  },
  "never stops": {
    blocker: class extends HeldBlocker {
      #held = false;
      override blocks(machine: BlockableMachine): readonly MigrationBlock[] {
        this.#held ||= held;
        return this.#held ? [{ modes: "all", reason: "It is held" }] : super.blocks(machine);
      }
    },
    noticedBy: ["blocks only as long as there is a reason"],
  },
  "blocks no mode": {
    blocker: class extends HeldBlocker {
      override blocks(machine: BlockableMachine) {
        return super.blocks(machine).map(({ reason }) => ({ modes: [], reason }));
      }
    },
    noticedBy: ["says what blocks, in which modes, each with a sentence"],
  },
  "gives a reason twice": {
    blocker: class extends HeldBlocker {
      override blocks(machine: BlockableMachine) {
        return [...super.blocks(machine), ...super.blocks(machine)];
      }
    },
    noticedBy: ["says what blocks, in which modes, each with a sentence"],
  },
  "counts how often it is asked": {
    blocker: class extends HeldBlocker {
      override blocks(machine: BlockableMachine) {
        return super.blocks(machine).map(({ modes }) => ({ modes, reason: `It was asked ${count++} times` }));
      }
    },
    noticedBy: ["says the same every time, and changes nothing in the VM"],
  },
  "renames the VM": {
    blocker: class extends HeldBlocker {
      override blocks(machine: BlockableMachine) {
        (machine as { name: string }).name = "other";
        return super.blocks(machine);
      }
    },
    noticedBy: ["says the same every time, and changes nothing in the VM"],
  },
};

describe("the suite of migration blockers", () => {
  test.each(Object.entries(broken))("notices a blocker that %s", async (_label, { blocker: Broken, noticedBy }) => {
    expect(await failingCases(migrationBlockerCases({ name: "broken", create: () => new Broken(), block }))).toEqual(
      noticedBy,
    );
  });
});
