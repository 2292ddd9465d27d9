import type { BackendSupports, ExecutionContext, ProcessorState } from "@cpr/core";
import { afterEach, describe, expect, test } from "vitest";
import { origin } from "../src/backend/guest-programs.ts";
import { backendCases, backendDescriptionCases } from "../src/backend.ts";
import { patience } from "../src/expectations.ts";
import { failingCases } from "./failing-cases.ts";
import { ToyBackend, ToyExecution } from "./toy-backend.ts";

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
    noticedBy: [
      "gives RAM of the size that was asked for, all zero",
      "begins RAM at an address that suits huge pages, if it is told to",
    ],
  },
  "adopts a copy of the RAM": {
    backend: class extends ToyBackend {
      override adoptRam(handle: unknown) {
        const { bytes } = super.adoptRam(handle);
        return { bytes: bytes.slice(), handle };
      }
    },
    noticedBy: [
      "adopts the same RAM on the machine thread",
      "begins RAM at an address that suits huge pages, if it is told to",
    ],
  },
  "gives as much RAM as anybody wants": {
    backend: class extends ToyBackend {
      override allocateRam(size: number) {
        const pages = Math.ceil(size / 65_536);
        return this.adoptRam({
          memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }),
          start: 0,
          size,
        });
      }
    },
    noticedBy: [
      "begins RAM at an address that suits huge pages, if it is told to",
      "refuses more RAM than it supports",
    ],
  },
  "counts how often it was saved": {
    backend: withExecution(
      class extends ToyExecution {
        override saveProcessor(processor: number) {
          this.current = processor;
          this.state.tsc++;
          return super.saveProcessor(processor);
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
        override saveProcessor(processor: number) {
          super.saveProcessor(processor);
          return this.state;
        }
      },
    ),
    noticedBy: [
      "hands out a state that the guest's going on does not reach",
      "resets each vCPU to the state that it was made in",
    ],
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
      "brings two vCPUs to the same ends however often they are moved",
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
          this.current = processor;
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
        override resetProcessor(processor: number) {
          const { registers } = this.saveProcessor(processor);
          super.resetProcessor(processor);
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
  "starts all vCPUs with the first": {
    backend: withExecution(
      class extends ToyExecution {
        override powerOn(processor: number) {
          const state = super.powerOn(processor);
          const segments = state.segments.map((segment) => ({ ...segment, selector: 0, base: 0n }));
          return processor === 0 ? state : { ...state, segments, rip: BigInt(origin), activity: 0 };
        }
      },
    ),
    noticedBy: ["lets vCPUs beyond the first wait for a start-up IPI"],
  },
  "executes the first vCPU only": {
    hangs: true,
    backend: withExecution(
      class extends ToyExecution {
        override executeOneEach() {
          this.current = 0;
          if (this.state.activity === 0) this.step();
        }
      },
    ),
    noticedBy: [
      "lets vCPUs see each other's stores to RAM",
      "stops all vCPUs, and lets all of them go on",
      "tells which vCPU accesses the bus",
      "brings two vCPUs to the same ends however often they are moved",
      "resets each vCPU to the state that it was made in",
      "tells which vCPU has had a triple fault",
    ],
  },
  "takes every vCPU for the first": {
    backend: withExecution(
      class extends ToyExecution {
        override currentProcessor() {
          return 0;
        }
      },
    ),
    noticedBy: ["tells which vCPU accesses the bus"],
  },
  "has the states of all vCPUs in one place": {
    hangs: true,
    backend: withExecution(
      class extends ToyExecution {
        override saveProcessor() {
          return super.saveProcessor(0);
        }
        override restoreProcessor(_processor: number, state: ProcessorState) {
          super.restoreProcessor(0, state);
        }
      },
    ),
    noticedBy: [
      "lets vCPUs beyond the first wait for a start-up IPI",
      "lets vCPUs see each other's stores to RAM",
      "brings two vCPUs to the same ends however often they are moved",
    ],
  },
  "resets all vCPUs when it resets one": {
    backend: withExecution(
      class extends ToyExecution {
        override resetProcessor() {
          for (let processor = this.context.processorCount - 1; processor >= 0; processor--) {
            super.resetProcessor(processor);
          }
        }
      },
    ),
    noticedBy: ["resets each vCPU to the state that it was made in"],
  },
  "tells of the first vCPU whatever happens to another": {
    backend: withExecution(
      class extends ToyExecution {
        constructor(context: ExecutionContext) {
          super({ ...context, onEvent: (event) => context.onEvent({ ...event, processor: 0 }) });
        }
      },
    ),
    noticedBy: ["tells which vCPU has had a triple fault"],
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
