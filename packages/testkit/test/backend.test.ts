import type { BackendSupports, ExecutionContext, ProcessorState } from "@cpr/core";
import { afterEach, describe, expect, test } from "vitest";
import { backendCases, backendCompliance, backendDescriptionCases } from "../src/backend.ts";
import { patience } from "../src/expectations.ts";
import { failingCases } from "./failing-cases.ts";
import { ToyBackend, ToyExecution } from "./toy-backend.ts";

await backendCompliance({ name: "toy", create: () => new ToyBackend() });

/** A toy whose execution is of that class. */
function withExecution(Broken: new (context: ExecutionContext) => ToyExecution): new () => ToyBackend {
  return class extends ToyBackend {
    override async createExecution(context: ExecutionContext) {
      return new Broken(context);
    }
  };
}

const broken: Record<
  string,
  { readonly backend: new () => ToyBackend; readonly noticedBy: string[]; readonly hangs?: boolean }
> = {
  "gives RAM in whole WebAssembly pages": {
    backend: class extends ToyBackend {
      override adoptRam(handle: unknown) {
        return { bytes: new Uint8Array((handle as { memory: WebAssembly.Memory }).memory.buffer), handle };
      }
    },
    noticedBy: ["gives RAM of the size that was asked for, all zero"],
  },
  "adopts a copy of the RAM": {
    backend: class extends ToyBackend {
      override adoptRam(handle: unknown) {
        const { bytes } = super.adoptRam(handle);
        return { bytes: bytes.slice(), handle };
      }
    },
    noticedBy: ["adopts the same RAM on the machine thread"],
  },
  "gives as much RAM as anybody wants": {
    backend: class extends ToyBackend {
      override allocateRam(size: number) {
        const pages = Math.ceil(size / 65_536);
        return this.adoptRam({
          memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }),
          size,
        });
      }
    },
    noticedBy: ["refuses more RAM than it supports"],
  },
  "counts how often it was saved": {
    backend: withExecution(
      class extends ToyExecution {
        override saveProcessor() {
          this.state.tsc++;
          return super.saveProcessor();
        }
      },
    ),
    noticedBy: [
      "makes vCPUs stopped, in the power-on state",
      "changes nothing when it saves",
      "refuses impossible states and stays as it was",
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
    ],
  },
  "makes each port write twice": {
    hangs: true,
    backend: withExecution(
      class extends ToyExecution {
        override writePort(port: number, size: 1 | 2 | 4, value: number) {
          super.writePort(port, size, value);
          super.writePort(port, size, value);
        }
      },
    ),
    noticedBy: [
      "makes the guest's port writes in order, each once",
      "gives the guest what port reads answer, in the width of each access",
      "lets guest and host share RAM in place",
      "takes accesses beyond RAM to the bus",
      "brings a guest to the same end however often it is moved",
      "wakes a halted guest for an interrupt, which the guest handles before it goes on",
      "keeps a halted guest halted over a pause and a move",
    ],
  },
  "hands out the state that it goes on using": {
    backend: withExecution(
      class extends ToyExecution {
        override saveProcessor() {
          return this.state;
        }
      },
    ),
    noticedBy: ["hands out a state that the guest's going on does not reach"],
  },
  "forgets a register when it restores": {
    backend: withExecution(
      class extends ToyExecution {
        override apply(state: ProcessorState) {
          super.apply({ ...state, registers: state.registers.with(0, 0n) });
        }
      },
    ),
    noticedBy: [
      "restores exactly what it saved, in another execution",
      "brings a guest to the same end however often it is moved",
    ],
  },
  "believes every state": {
    backend: withExecution(
      class extends ToyExecution {
        override check() {}
      },
    ),
    noticedBy: ["refuses impossible states and stays as it was"],
  },
  "notices too late that a state is impossible": {
    backend: withExecution(
      class extends ToyExecution {
        override restoreProcessor(processor: number, state: ProcessorState) {
          this.apply(state);
          super.restoreProcessor(processor, state);
        }
      },
    ),
    noticedBy: [
      "refuses impossible states and stays as it was",
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
    ],
  },
  "keeps a register over a reset": {
    backend: withExecution(
      class extends ToyExecution {
        override resetProcessor() {
          const { registers } = this.state;
          super.resetProcessor();
          this.state.registers = registers;
        }
      },
    ),
    noticedBy: ["resets a vCPU to the state that it was made in"],
  },
  "runs no timers": {
    hangs: true,
    backend: withExecution(
      class extends ToyExecution {
        override runTimers() {}
      },
    ),
    noticedBy: ["runs timers that are due while the guest spins", "runs timers that are due while the guest is halted"],
  },
  "takes interrupts although they are disabled": {
    backend: withExecution(
      class extends ToyExecution {
        override interruptsEnabled() {
          return true;
        }
      },
    ),
    noticedBy: ["takes no interrupt while the guest has them disabled"],
  },
  "never wakes up": {
    hangs: true,
    backend: withExecution(
      class extends ToyExecution {
        override interruptsEnabled() {
          return false;
        }
      },
    ),
    noticedBy: [
      "wakes a halted guest for an interrupt, which the guest handles before it goes on",
      "keeps a halted guest halted over a pause and a move",
    ],
  },
};

describe("the backend suite", () => {
  const usual = patience.milliseconds;
  afterEach(() => {
    patience.milliseconds = usual;
  });

  test.each(Object.entries(broken))(
    "notices a backend that %s",
    async (_label, { backend: Broken, noticedBy, hangs }) => {
      // With little patience, a busy machine may make other cases fail too.
      patience.milliseconds = hangs === true ? 500 : usual;
      const failing = await failingCases(backendCases({ name: "toy", create: () => new Broken() }));
      expect(failing).toEqual(hangs === true ? expect.arrayContaining(noticedBy) : noticedBy);
    },
  );

  test("notices a backend that goes on although it is paused", async () => {
    class Restless extends ToyExecution {
      override async pause() {}
    }
    const Broken = withExecution(Restless);
    expect(await failingCases(backendCases({ name: "toy", create: () => new Broken() }))).toContain(
      "stops a guest that never ends, and no store happens after that",
    );
  });

  test("notices a backend that describes itself badly", async () => {
    let count = 0;
    class Fickle extends ToyBackend {
      override readonly processorModels = ["toy", "toy"];
      override readonly supports: BackendSupports = {
        kernelIrqchip: "off",
        maximumProcessors: 1,
        maximumRam: 2 ** (20 + count++),
        dirtyLog: false,
      };
      override async probe() {
        return { available: false, reason: "" } as const;
      }
    }
    expect(await failingCases(backendDescriptionCases({ name: "toy", create: () => new Fickle() }))).toEqual([
      "says the same about itself every time",
      "has CPU models with different names",
      "tells whether it works here, and if not, why",
    ]);
  });
});
