import type { MemorySupports, MigrationMode, MigrationPlan, Refusal } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { modeCases, modeCompliance } from "../src/mode.ts";
import { failingCases } from "./failing-cases.ts";

/** Takes what is stored. */
class StoringMode implements MigrationMode {
  readonly name: string = "storing";
  readonly summary: string = "Save to a place that stores.";

  judgeOutgoing({ transport, uri }: MigrationPlan): readonly Refusal[] {
    return transport.stores ? [] : [{ code: "ERR_CPR_TEST_STREAM", message: `'${uri.text}' does not store` }];
  }

  judgeIncoming(plan: MigrationPlan): readonly Refusal[] {
    return this.judgeOutgoing(plan);
  }

  keepsInPlace({ shared }: MemorySupports): boolean {
    return shared;
  }
}

modeCompliance({ name: "storing", create: () => new StoringMode() });

let count = 0;

const broken: Record<string, { readonly mode: new () => MigrationMode; readonly noticedBy: string[] }> = {
  "says nothing about itself": {
    mode: class extends StoringMode {
      override readonly summary = "";
    },
    noticedBy: ["has its name, and one line about itself"],
  },
  "refuses everything": {
    mode: class extends StoringMode {
      override judgeIncoming() {
        return [{ code: "ERR_CPR_TEST", message: "No" }];
      }
    },
    noticedBy: ["accepts some plan on each side"],
  },
  "has no code for a refusal": {
    mode: class extends StoringMode {
      override judgeOutgoing(plan: MigrationPlan) {
        return plan.runState === "shutdown" ? [{ code: "", message: "The guest is off" }] : [];
      }
    },
    noticedBy: ["refuses with a code, a sentence and perhaps a hint"],
  },
  "has a hole in its sentence": {
    mode: class extends StoringMode {
      override judgeOutgoing(plan: MigrationPlan) {
        return plan.runState === "shutdown" ? [{ code: "ERR_CPR_TEST", message: `Not in ${undefined}` }] : [];
      }
    },
    noticedBy: ["refuses with a code, a sentence and perhaps a hint"],
  },
  "remembers earlier judgements": {
    mode: class extends StoringMode {
      override judgeIncoming(plan: MigrationPlan) {
        return count++ % 2 === 0 ? super.judgeIncoming(plan) : [];
      }
    },
    noticedBy: ["judges alike every time, and by the plan alone"],
  },
  "adds a capability to the plan": {
    mode: class extends StoringMode {
      override judgeOutgoing(plan: MigrationPlan) {
        (plan.memory as unknown as { id: string }[])[0] = { id: "other" };
        return super.judgeOutgoing(plan);
      }
    },
    noticedBy: ["changes nothing in the plan"],
  },
  "gives a reason twice": {
    mode: class extends StoringMode {
      override judgeOutgoing(plan: MigrationPlan) {
        return [...super.judgeOutgoing(plan), ...super.judgeOutgoing(plan)];
      }
    },
    noticedBy: ["gives each reason once"],
  },
  "leaves private RAM in place": {
    mode: class extends StoringMode {
      override keepsInPlace() {
        return true;
      }
    },
    noticedBy: ["keeps RAM in place only where it can be found again"],
  },
};

describe("the suite of migration modes", () => {
  test.each(Object.entries(broken))("notices a mode that %s", async (_label, { mode: Broken, noticedBy }) => {
    expect(await failingCases(modeCases({ name: "broken", create: () => new Broken() }))).toEqual(noticedBy);
  });
});
