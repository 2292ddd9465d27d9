/**
 * The compliance suite of the `Device` contract.
 *
 * @example
 * ```ts
 * deviceCompliance({
 *   name: "uart-16550",
 *   create: (context) => new Uart16550Model().create(context),
 *   properties: { port: 0x3f8, irq: 4, chardev: "serial0" },
 *   disturb: (_device, { bus }) => bus.ports.write(0x3f9, 1, 0x03),
 * });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import {
  type AccessSize,
  checkFields,
  type Device,
  type DeviceCheckpoint,
  decodeState,
  defineState,
  type EncodedState,
  encodeState,
  type Fields,
  isCprError,
  u8,
} from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { within } from "./expectations.ts";
import { extremeStates } from "./extreme-states.ts";
import { FakeDeviceContext } from "./fakes/fake-device-context.ts";
import { ManualClock } from "./fakes/manual-clock.ts";
import { registerCases } from "./register-cases.ts";

/** A device to be tested, and how to change its state. */
export interface DeviceFixture {
  readonly name: string;
  /** Makes the device as its model does. Called several times for each case. */
  create(context: FakeDeviceContext): Device;
  readonly properties?: Readonly<Record<string, unknown>>;
  /**
   * Brings the device into a state unlike its power-on state, as the guest and the host would: through the bus, the
   * character devices and the clock of the context. The more fields of the state it changes, the more the suite finds.
   * It must do the same whenever it meets the device in the same state, and it is called twice in a row by some cases.
   */
  disturb(device: Device, context: FakeDeviceContext): void;
  /** Fields of the state that a battery keeps over a reset, as it does those of the PC's clock. None by default. */
  readonly batteryBacked?: readonly string[];
}

type State = Readonly<Record<string, unknown>>;
type StatefulCheckpoint = Extract<DeviceCheckpoint, { kind: "state" }>;

interface Specimen {
  readonly device: Device;
  readonly context: FakeDeviceContext;
}

/** How much virtual time passes when a case lets a device's timers run: enough for several ticks of an 18 Hz clock. */
const aWhile = 200_000_000;

/** The cases for one device, as data. */
export function deviceCases(fixture: DeviceFixture): readonly ComplianceCase[] {
  const make = (now = 0): Specimen => {
    const properties = fixture.properties ?? {};
    const context = new FakeDeviceContext({ id: "device0", properties, clock: new ManualClock(now) });
    return { device: fixture.create(context), context };
  };
  const makeDisturbed = (): Specimen => {
    const specimen = make();
    fixture.disturb(specimen.device, specimen.context);
    return specimen;
  };
  /** What {@link observe} tells, without what a battery keeps. */
  const volatile = ({ device, context }: Specimen): unknown => {
    const { checkpoint } = device;
    const state: Record<string, unknown> = checkpoint.kind === "state" ? { ...saved(device) } : {};
    for (const field of fixture.batteryBacked ?? []) {
      assert.ok(field in state, `the battery keeps '${field}', which is not in the state`);
      delete state[field];
    }
    return { state, asserted: assertedLines(context), deadline: context.timers.nextDeadline() };
  };
  const { kind } = make().device.checkpoint;
  const list = new CaseList();

  list
    .add("has the id that it was given", () => {
      const { device, context } = make();
      assert.equal(device.id, context.id);
    })
    .add("says the same about its checkpoint every time", () => {
      const { device, context } = make();
      assert.equal(device.checkpoint.kind, kind);
      fixture.disturb(device, context);
      assert.equal(device.checkpoint.kind, kind);
    })
    .add("is made with no timer armed for the past and no interrupt line asserted", () => {
      const { context } = make();
      assert.ok((context.timers.nextDeadline() ?? 1) > 0);
      assert.deepEqual(assertedLines(context), []);
    })
    .add("answers every access of the guest with a value of its width, and throws at none", () => {
      const { context } = makeDisturbed();
      accessEverything(context);
    })
    .add("still resets after the guest has written everywhere", () => {
      const { device, context } = makeDisturbed();
      accessEverything(context);
      device.reset();
      assert.deepEqual(volatile({ device, context }), volatile(make(context.clock.now())));
    })
    .add("releases its interrupt lines when it is reset", () => {
      const { device, context } = makeDisturbed();
      device.reset();
      assert.deepEqual(assertedLines(context), []);
    })
    .add("is after a reset as it was when it was made", () => {
      const { device, context } = makeDisturbed();
      device.reset();
      assert.deepEqual(volatile({ device, context }), volatile(make(context.clock.now())));
    })
    .add("is the same after a second pause as after the first", async () => {
      const specimen = makeDisturbed();
      await pause(specimen.device);
      const paused = observe(specimen);
      await pause(specimen.device);
      assert.deepEqual(observe(specimen), paused);
    })
    .add("goes on after a pause as if there had been none", async () => {
      const paused = makeDisturbed();
      const other = makeDisturbed();
      await pause(paused.device);
      paused.device.resume?.();
      for (const { device, context } of [paused, other]) {
        context.advance(aWhile);
        fixture.disturb(device, context);
      }
      assert.deepEqual(observe(paused), observe(other));
    })
    .addIf(make().device.pause !== undefined, "starts no new work while it is paused", async () => {
      const specimen = makeDisturbed();
      await pause(specimen.device);
      const paused = observe(specimen);
      for (const characterDevice of specimen.context.characterDevices.values()) {
        characterDevice.type("paused");
      }
      assert.deepEqual(observe(specimen), paused);
    })
    .add("shares nothing with another device of its kind", () => {
      const bystander = make();
      const before = observe(bystander);
      makeDisturbed();
      assert.deepEqual(observe(bystander), before);
    })
    .addIf(make().device.hostFiles !== undefined, "names each file of the host once, and always alike", () => {
      const { device, context } = makeDisturbed();
      const { hostFiles = [] } = device;
      const ids = hostFiles.map(({ id }) => id);
      assert.deepEqual([...new Set(ids)], ids, "an id is there twice");
      for (const { id, path } of hostFiles) {
        assert.match(id, /^[^,]+$/, "an id without a comma");
        assert.notEqual(path, "");
      }
      accessEverything(context);
      device.reset();
      assert.deepEqual(device.hostFiles, hostFiles);
    })
    .add("can be closed", () => {
      const { device } = makeDisturbed();
      device.close?.();
    });

  if (kind === "blocked") {
    list.add("says which modes it blocks and why", () => {
      const { checkpoint } = make().device;
      assert.ok(checkpoint.kind === "blocked");
      assert.ok(checkpoint.modes.length > 0, "no mode is blocked");
      assert.match(checkpoint.reason ?? "QEMU's words", /\S/);
    });
  }
  if (kind === "state") {
    addStateCases(list, fixture, make, makeDisturbed);
  }
  return list.cases;
}

function addStateCases(
  list: CaseList,
  fixture: DeviceFixture,
  make: (now?: number) => Specimen,
  makeDisturbed: () => Specimen,
): void {
  /** A fresh device in a place like the one that the original was saved in: same time, same RAM, same levels on its lines. */
  const makeLike = (original: Specimen): Specimen => {
    const copy = make(original.context.clock.now());
    copy.context.memory.bytes.set(original.context.memory.bytes);
    for (const [number, line] of original.context.interrupts) {
      copy.context.interrupt(number).set(line.level);
    }
    return copy;
  };

  list
    .add("saves exactly the fields of its schema", () => {
      for (const { device } of [make(), makeDisturbed()]) {
        const { schema, save } = stateful(device);
        assert.equal(checkFields(schema.fields, save.call(device.checkpoint)), undefined);
      }
    })
    .add("changes nothing when it saves", () => {
      const specimen = makeDisturbed();
      const lines = () => [...specimen.context.interrupts].map(([number, line]) => [number, [...line.changes]]);
      const effects = () => ({
        lines: lines(),
        requests: [...specimen.context.requests],
        output: [...specimen.context.characterDevices.values()].map((each) => [each.output.length, each.waiting]),
        accesses: specimen.context.bus.accesses.length,
        deadline: specimen.context.timers.nextDeadline(),
        memory: crc32(specimen.context.memory.bytes),
      });
      const before = effects();
      const first = saved(specimen.device);
      assert.deepEqual(effects(), before);
      assert.deepEqual(saved(specimen.device), first);
    })
    .add("hands out a saved state that later changes do not reach", () => {
      const { device, context } = makeDisturbed();
      const state = stateful(device).save();
      const copy = structuredClone(state);
      fixture.disturb(device, context);
      context.advance(aWhile);
      accessEverything(context);
      assert.deepEqual(state, copy);
    })
    .add("has another state after it was disturbed", () => {
      const { device, context } = makeDisturbed();
      assert.notDeepEqual(saved(device), saved(make(context.clock.now()).device));
    })
    .add("restores what it saved", () => {
      const original = makeDisturbed();
      const copy = makeLike(original);
      stateful(copy.device).restore(saved(original.device));
      assert.deepEqual(saved(copy.device), saved(original.device));
    })
    .add("restores what it saved after a trip through the wire format", () => {
      const original = makeDisturbed();
      const copy = makeLike(original);
      const { schema } = stateful(original.device);
      const encoded = encodeState(original.device.id, schema, saved(original.device));
      // The description travels as JSON, the data as bytes.
      const received = decodeState(original.device.id, schema, {
        version: encoded.version,
        data: encoded.data.slice(),
        description: JSON.parse(JSON.stringify(encoded.description)),
      });
      stateful(copy.device).restore(received);
      assert.deepEqual(saved(copy.device), saved(original.device));
    })
    .add("is not given a state of a newer version, of another device, or cut short", () => {
      const { device } = makeDisturbed();
      const { schema } = stateful(device);
      const encoded = encodeState(device.id, schema, saved(device));
      const { description, data } = encoded;
      const newer = schema.version + 1;
      for (const [what, wrong] of [
        ["a newer version", { ...encoded, version: newer, description: { ...description, version: newer } }],
        [
          "another device",
          { ...encoded, description: { ...description, vmsd_name: `${description.vmsd_name}-other` } },
        ],
        ["one cut short", { ...encoded, data: data.subarray(0, -1) }],
        ["one with an unknown field", { ...encoded, ...withUnknownField(encoded) }],
      ] as const) {
        assert.throws(() => decodeState(device.id, schema, wrong), isCprError, `${what} is taken`);
      }
    })
    .add("keeps no hold of a state that it was given", () => {
      const original = makeDisturbed();
      const copy = makeLike(original);
      const state = saved(original.device);
      stateful(copy.device).restore(state);
      const untouched = structuredClone(state);
      fixture.disturb(copy.device, copy.context);
      assert.deepEqual(state, untouched);
    })
    .add("restores into a device that was reset as into a new one", () => {
      const original = makeDisturbed();
      const other = makeLike(original);
      fixture.disturb(other.device, other.context);
      other.device.reset();
      const sameTime = makeLike(other);
      for (const { device } of [other, sameTime]) {
        stateful(device).restore(saved(original.device));
      }
      assert.deepEqual(saved(other.device), saved(sameTime.device));
    })
    .add("goes on after a restore as the original does", () => {
      const original = makeDisturbed();
      const copy = makeLike(original);
      stateful(copy.device).restore(saved(original.device));
      copy.device.resume?.();
      original.device.resume?.();
      for (const { device, context } of [original, copy]) {
        fixture.disturb(device, context);
      }
      assert.deepEqual(observe(copy), observe(original));
    })
    .add("answers the guest after a restore as the original does", () => {
      const original = makeDisturbed();
      const copy = makeLike(original);
      stateful(copy.device).restore(saved(original.device));
      copy.device.resume?.();
      original.device.resume?.();
      const answers = [original, copy].map(({ context }) => {
        const before = context.bus.accesses.length;
        readEverything(context);
        accessEverything(context);
        return context.bus.accesses.slice(before);
      });
      assert.deepEqual(answers[1], answers[0]);
      assert.deepEqual(observe(copy), observe(original));
    })
    .add("fires its timers after a restore when the original would have", () => {
      const original = makeDisturbed();
      const copy = makeLike(original);
      stateful(copy.device).restore(saved(original.device));
      copy.device.resume?.();
      original.device.resume?.();
      for (const { context } of [original, copy]) {
        context.advance(aWhile);
      }
      assert.deepEqual(observe(copy), observe(original));
    })
    .add("takes or refuses each extreme value of each field, and is untouched if it refuses", () => {
      const original = makeDisturbed();
      const { schema } = stateful(original.device);
      for (const [name, hostile] of extremeStates(schema.fields, saved(original.device))) {
        const victim = makeLike(original);
        const before = saved(victim.device);
        try {
          stateful(victim.device).restore(structuredClone(hostile));
        } catch (error) {
          assert.ok(isCprError(error), `${name}: restore threw ${String(error)}, not a CprError`);
          assert.deepEqual(saved(victim.device), before, `${name}: a refused restore changed the device`);
          continue;
        }
        const problem = checkFields(schema.fields, saved(victim.device));
        assert.equal(problem, undefined, `${name}: the state saved after the restore ${problem}`);
        victim.context.advance(aWhile);
        accessEverything(victim.context, name);
        victim.device.reset();
      }
    })
    .add("has a schema that knows a way from every older version to the present one", () => {
      const { schema } = stateful(make().device);
      assert.ok(Number.isInteger(schema.version) && schema.version >= 1);
      assert.match(schema.name, /\S/);
      for (const [from, fields] of Object.entries(schema.olderFields)) {
        let state: Record<string, unknown> = zeroState(fields);
        for (let version = Number(from); version < schema.version; version++) {
          const upgrade = schema.upgrades[version];
          assert.ok(upgrade !== undefined, `version ${from} has no way past version ${version}`);
          state = upgrade(state);
        }
        assert.equal(checkFields(schema.fields, state), undefined, `version ${from} upgrades to no present state`);
      }
    })
    .add("has a schema that refuses an unknown field, a missing one and one of another type", () => {
      const { device } = makeDisturbed();
      const { schema } = stateful(device);
      const state = saved(device);
      assert.notEqual(checkFields(schema.fields, { ...state, "no such field": 0 }), undefined);
      for (const name of Object.keys(schema.fields)) {
        const { [name]: _, ...rest } = state;
        assert.notEqual(checkFields(schema.fields, rest), undefined, `'${name}' may be missing`);
        assert.notEqual(checkFields(schema.fields, { ...state, [name]: {} }), undefined, `'${name}' may be anything`);
      }
    });
}

/** Registers the suite of the `Device` contract. */
export function deviceCompliance(fixture: DeviceFixture): void {
  registerCases(`device ${fixture.name}`, deviceCases(fixture));
}

function stateful(device: Device): StatefulCheckpoint {
  const { checkpoint } = device;
  assert.ok(checkpoint.kind === "state", `the checkpoint became '${checkpoint.kind}'`);
  return checkpoint;
}

/** A copy: some devices hand out the arrays that they go on using, which one case forbids and the others ignore. */
function saved(device: Device): State {
  return structuredClone(stateful(device).save());
}

async function pause(device: Device): Promise<void> {
  await within(device.pause?.() ?? Promise.resolve(), "the end of pause()");
}

/** All that can be seen of a device at one moment. */
function observe({ device, context }: Specimen): unknown {
  return {
    state: device.checkpoint.kind === "state" ? saved(device) : device.checkpoint.kind,
    asserted: assertedLines(context),
    deadline: context.timers.nextDeadline(),
  };
}

function assertedLines(context: FakeDeviceContext): number[] {
  return [...context.interrupts].flatMap(([number, { level }]) => (level ? [number] : [])).sort((a, b) => a - b);
}

/** How many addresses of one claim are tried: all of a device's ports, and both ends of a large MMIO range. */
const triedAddresses = 1024;

/** The addresses of a claim that are tried. */
function* tried(base: number, length: number): Generator<number> {
  for (let step = 0; step < Math.min(length, triedAddresses); step++) {
    yield step < triedAddresses / 2 ? base + step : base + length - 1 - (step - triedAddresses / 2);
  }
}

/** Reads all that the device has claimed, as a guest would that looks for it. */
function readEverything(context: FakeDeviceContext): void {
  for (const { space, base, length } of context.bus.claims) {
    for (const address of tried(base, length)) {
      context.bus[space].read(address, 1);
      context.bus[space].read(address, 4);
    }
  }
}

/** Reads and writes all that the device has claimed, in every width, as a hostile guest would. */
function accessEverything(context: FakeDeviceContext, label = "access"): void {
  for (const { space, base, length } of [...context.bus.claims]) {
    for (const address of tried(base, length)) {
      for (const size of [1, 2, 4] as const satisfies readonly AccessSize[]) {
        const where = `${label}: ${space} 0x${address.toString(16)}, ${size} bytes`;
        for (const value of [0, 0x5555_5555, 0xffff_ffff]) {
          try {
            context.bus[space].write(address, size, truncate(value, size));
            const read = context.bus[space].read(address, size);
            assert.ok(
              Number.isInteger(read) && read >= 0 && read < 2 ** (8 * size),
              `${where}: read ${read}, which is not an unsigned value of that width`,
            );
          } catch (cause) {
            throw cause instanceof assert.AssertionError ? cause : new Error(`${where} threw`, { cause });
          }
        }
      }
    }
  }
}

function truncate(value: number, size: AccessSize): number {
  return size === 4 ? value : value % 2 ** (8 * size);
}

/** A state with one more field at its end than its schema knows. */
function withUnknownField({ data, description }: EncodedState): Pick<EncodedState, "data" | "description"> {
  const extra = encodeState("device0", defineState("extra", 1, { "no such field": u8 }), { "no such field": 1 });
  return {
    data: Uint8Array.of(...data, ...extra.data),
    description: { ...description, fields: [...description.fields, ...extra.description.fields] },
  };
}

function zeroState(fields: Fields): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, field.decode(new DataView(new ArrayBuffer(field.size)), 0)]),
  );
}
