import { type Device, type DeviceContext, defineState, u8 } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { type DeviceFixture, deviceCases, deviceCompliance } from "../src/device.ts";
import type { FakeDeviceContext } from "../src/fakes.ts";
import { failingCases } from "./failing-cases.ts";
import { Ticker } from "./ticker.ts";

const fixture = (create: (context: DeviceContext) => Device): DeviceFixture => ({
  name: "ticker",
  create,
  disturb(_device: Device, context: FakeDeviceContext) {
    const { ports } = context.bus;
    ports.write(0x103, 1, 0x80 | ports.read(0x103, 1));
    ports.write(0x100, 1, 3);
    context.characterDevice("ticker").type("abc");
    context.advance(70_000_000);
  },
});

deviceCompliance(fixture((context) => new Ticker(context)));

deviceCompliance({
  name: "stateless",
  create: (context) => {
    context.bus.ports.claim(context.id, 0xed, 1, { read: () => 0xff, write: () => undefined });
    return { id: context.id, reset: () => undefined, checkpoint: { kind: "stateless" } };
  },
  disturb: (_device, { bus }) => bus.ports.write(0xed, 1, 7),
});

deviceCompliance({
  name: "with a file",
  create: (context) => ({
    id: context.id,
    hostFiles: [{ id: "disk0", path: "/vm/disk.img" }],
    reset: () => undefined,
    checkpoint: { kind: "stateless" },
  }),
  disturb: () => undefined,
});

deviceCompliance({
  name: "blocked",
  create: (context) => ({
    id: context.id,
    reset: () => undefined,
    checkpoint: { kind: "blocked", modes: ["cpr-reboot"], reason: "The device cannot be saved" },
  }),
  disturb: () => undefined,
});

let shared = 0;

/** Each device breaks one promise; the cases that must notice, and no others. */
const broken: Record<
  string,
  { readonly device: new (context: DeviceContext) => Device; readonly noticedBy: string[] }
> = {
  "takes another id": {
    device: class extends Ticker {
      override readonly id = "ticker";
    },
    noticedBy: ["has the id that it was given"],
  },
  "asserts its line when it is made": {
    device: class extends Ticker {
      constructor(context: DeviceContext) {
        super(context);
        this.line.set(true);
      }
    },
    noticedBy: [
      "is made with no timer armed for the past and no interrupt line asserted",
      "still resets after the guest has written everywhere",
      "is after a reset as it was when it was made",
    ],
  },
  "names a file twice": {
    device: class extends Ticker {
      readonly hostFiles = [
        { id: "disk0", path: "/vm/disk.img" },
        { id: "disk0", path: "/vm/other.img" },
      ];
    },
    noticedBy: ["names each file of the host once, and always alike"],
  },
  "forgets its file when it is reset": {
    device: class extends Ticker {
      hostFiles = [{ id: "disk0", path: "/vm/disk.img" }];
      override reset() {
        super.reset();
        this.hostFiles = [];
      }
    },
    noticedBy: ["names each file of the host once, and always alike"],
  },
  "cannot be closed": {
    device: class extends Ticker {
      close() {
        throw new TypeError("cannot happen");
      }
    },
    noticedBy: ["can be closed"],
  },
  "resets all but one register": {
    device: class extends Ticker {
      override reset() {
        const { latches } = this;
        super.reset();
        this.latches = latches;
      }
    },
    noticedBy: ["still resets after the guest has written everywhere", "is after a reset as it was when it was made"],
  },
  "keeps its line asserted over a reset": {
    device: class extends Ticker {
      override reset() {
        super.reset();
        this.line.set(true);
      }
    },
    noticedBy: [
      "still resets after the guest has written everywhere",
      "releases its interrupt lines when it is reset",
      "is after a reset as it was when it was made",
    ],
  },
  "keeps its timer armed over a reset": {
    device: class extends Ticker {
      override reset() {
        const { deadline } = this.timer;
        super.reset();
        this.timer.arm(deadline ?? 0);
      }
    },
    noticedBy: ["still resets after the guest has written everywhere", "is after a reset as it was when it was made"],
  },
  "releases its line when it saves": {
    device: class extends Ticker {
      override save() {
        const state = super.save();
        this.line.set(false);
        return state;
      }
    },
    noticedBy: ["changes nothing when it saves"],
  },
  "counts how often it was saved": {
    device: class extends Ticker {
      override save() {
        this.ticks++;
        return super.save();
      }
    },
    noticedBy: [
      "is the same after a second pause as after the first",
      "starts no new work while it is paused",
      "shares nothing with another device of its kind",
      "changes nothing when it saves",
      "restores into a device that was reset as into a new one",
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
    ],
  },
  "forgets a register when it saves": {
    device: class extends Ticker {
      override save() {
        return { ...super.save(), latches: [0, 0] };
      }
    },
    noticedBy: ["answers the guest after a restore as the original does"],
  },
  "forgets a register when it restores": {
    device: class extends Ticker {
      override apply(state: Readonly<Record<string, unknown>>) {
        super.apply({ ...state, received: new Uint8Array(4) });
      }
    },
    noticedBy: [
      "restores what it saved",
      "restores what it saved after a trip through the wire format",
      "goes on after a restore as the original does",
      "answers the guest after a restore as the original does",
      "fires its timers after a restore when the original would have",
    ],
  },
  "restarts its timer when it restores": {
    device: class extends Ticker {
      override apply(state: Readonly<Record<string, unknown>>) {
        super.apply(state);
        if (state.armed === true) {
          this.timer.arm(this.context.clock.now() + Number(this.period));
        }
      }
    },
    noticedBy: [
      "restores what it saved",
      "restores what it saved after a trip through the wire format",
      "fires its timers after a restore when the original would have",
    ],
  },
  "hands out its own array": {
    device: class extends Ticker {
      override save() {
        return { ...super.save(), received: this.received };
      }
    },
    noticedBy: ["hands out a saved state that later changes do not reach"],
  },
  "keeps the array that it was given": {
    device: class extends Ticker {
      override apply(state: Readonly<Record<string, unknown>>) {
        super.apply(state);
        this.received = state.received as Uint8Array<ArrayBuffer>;
      }
    },
    noticedBy: ["keeps no hold of a state that it was given"],
  },
  "believes every state": {
    device: class extends Ticker {
      override check() {}
    },
    noticedBy: ["takes or refuses each extreme value of each field, and is untouched if it refuses"],
  },
  "notices too late that a state is impossible": {
    device: class extends Ticker {
      override restore(state: Readonly<Record<string, unknown>>) {
        this.latches = [...(state.latches as number[])];
        super.restore(state);
      }
    },
    noticedBy: ["takes or refuses each extreme value of each field, and is untouched if it refuses"],
  },
  "saves a field that is not in its schema": {
    device: class extends Ticker {
      override save() {
        return { ...super.save(), debug: 1 };
      }
    },
    noticedBy: [
      "saves exactly the fields of its schema",
      "restores what it saved after a trip through the wire format",
      "is not given a state of a newer version, of another device, or cut short",
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
    ],
  },
  "works while it is paused": {
    device: class extends Ticker {
      override async pause() {}
    },
    noticedBy: ["starts no new work while it is paused"],
  },
  "loses something at each pause": {
    device: class extends Ticker {
      override async pause() {
        await super.pause();
        this.ticks = (this.ticks + 1) & 0xff;
      }
    },
    noticedBy: [
      "is the same after a second pause as after the first",
      "goes on after a pause as if there had been none",
    ],
  },
  "throws at a wide access": {
    device: class extends Ticker {
      override write(offset: number, value: number) {
        if (value === 0xff) {
          throw new TypeError("cannot happen");
        }
        super.write(offset, value);
      }
    },
    noticedBy: [
      "answers every access of the guest with a value of its width, and throws at none",
      "still resets after the guest has written everywhere",
      "hands out a saved state that later changes do not reach",
      "answers the guest after a restore as the original does",
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
    ],
  },
  "answers with a negative number": {
    device: class extends Ticker {
      override read(offset: number) {
        return offset === 3 ? ~super.read(3) : super.read(offset);
      }
    },
    noticedBy: [
      "answers every access of the guest with a value of its width, and throws at none",
      "still resets after the guest has written everywhere",
      "hands out a saved state that later changes do not reach",
      "answers the guest after a restore as the original does",
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
    ],
  },
  "shares a register between its instances": {
    device: class extends Ticker {
      override write(offset: number, value: number) {
        super.write(offset, value);
        shared++;
      }
      override save() {
        return { ...super.save(), ticks: shared & 0xff };
      }
    },
    noticedBy: [
      "shares nothing with another device of its kind",
      "answers the guest after a restore as the original does",
    ],
  },
  "has a schema with a version that nobody upgrades": {
    device: class extends Ticker {
      override readonly checkpoint = {
        ...({} as Ticker["checkpoint"]),
        kind: "state" as const,
        schema: defineState(
          "ticker",
          3,
          { ticks: u8 },
          {
            1: { fields: { ticks: u8 }, upgrade: (state) => ({ ...state }) },
          },
        ) as never,
        save: () => ({ ticks: this.ticks }),
        restore: (state: Readonly<Record<string, unknown>>) => {
          this.ticks = state.ticks as number;
        },
      };
    },
    noticedBy: [
      "answers the guest after a restore as the original does",
      "fires its timers after a restore when the original would have",
      "has a schema that knows a way from every older version to the present one",
    ],
  },
};

describe("the device suite", () => {
  test.each(Object.entries(broken))("notices a device that %s", async (_label, { device: Broken, noticedBy }) => {
    expect(await failingCases(deviceCases(fixture((context) => new Broken(context))))).toEqual(noticedBy);
  });

  test("has no case that none of these provokes", () => {
    const provoked = new Set(Object.values(broken).flatMap(({ noticedBy }) => noticedBy));
    const unprovoked = deviceCases(fixture((context) => new Ticker(context))).filter(({ name }) => !provoked.has(name));
    expect(unprovoked.map(({ name }) => name)).toEqual([
      // The tests below provoke them.
      "says the same about its checkpoint every time",
      "has another state after it was disturbed",
      // These are about the schema, which core's tests provoke.
      "has a schema that refuses an unknown field, a missing one and one of another type",
    ]);
  });

  test("notices a device that changes its mind about its checkpoint", async () => {
    class Fickle extends Ticker {
      constructor(context: DeviceContext) {
        super(context);
        const { checkpoint } = this;
        Object.defineProperty(this, "checkpoint", {
          get: () => (this.ticks > 0 ? { kind: "stateless" } : checkpoint),
        });
      }
    }
    expect(await failingCases(deviceCases(fixture((context) => new Fickle(context))))).toContain(
      "says the same about its checkpoint every time",
    );
  });

  test("notices that the fixture disturbs nothing", async () => {
    const idle = { ...fixture((context) => new Ticker(context)), disturb: () => undefined };
    expect(await failingCases(deviceCases(idle))).toEqual(["has another state after it was disturbed"]);
  });
});
