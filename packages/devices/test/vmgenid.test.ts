import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { VmgenidModel } from "../src/index.ts";

const address = 0x1000;

function create(properties: Readonly<Record<string, unknown>> = {}) {
  const raised: number[] = [];
  const generalEvents = { raiseGeneralEvent: (number: number) => raised.push(number) };
  const context = new FakeDeviceContext({ properties: { address, event: 5, generalEvents, ...properties } });
  const device = new VmgenidModel().create(context);
  const { checkpoint } = device;
  if (checkpoint.kind !== "state") throw new Error("it has no state");
  const inRam = (): string => Buffer.from(context.memory.slice(address, 16)).toString("hex");
  return { device, checkpoint, inRam, raised };
}

const none = "00".repeat(16);

describe("vmgenid", () => {
  it("puts a GUID into RAM when the guest begins, as Microsoft lays it out, and no event tells of it", () => {
    const { device, inRam, raised } = create({ guid: "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87" });
    expect(inRam()).toBe(none);
    device.publish();
    device.resume?.();
    expect(inRam()).toBe("af6e4e32d1d1f64bbf41b9bb6c91fb87");
    expect(raised).toEqual([]);
  });

  it("is another one in each VM, and the same after a reset", () => {
    const [one, other] = [create(), create({ guid: "auto" })];
    one.device.publish();
    other.device.publish();
    expect(one.inRam()).not.toBe(other.inRam());
    const before = one.inRam();
    one.device.reset();
    one.device.publish();
    expect(one.inRam()).toBe(before);
  });

  it("goes on in a copy as it was, unless the guest has branched: then RAM and the event follow when it runs", () => {
    const original = create();
    original.device.publish();
    const copy = create();
    copy.checkpoint.restore(original.checkpoint.save());
    copy.device.resume?.();
    // RAM comes with the checkpoint; here there is none.
    expect([copy.inRam(), copy.raised]).toEqual([none, []]);
    copy.device.branched?.();
    expect([copy.inRam(), copy.raised]).toEqual([none, []]);
    // It may be saved once more before it runs, or be reset as it wakes.
    const second = create();
    second.checkpoint.restore(copy.checkpoint.save());
    second.device.reset();
    second.device.resume?.();
    expect(second.inRam()).toBe(Buffer.from(copy.checkpoint.save()["guid"] as Uint8Array).toString("hex"));
    expect(second.inRam()).not.toBe(original.inRam());
    expect(second.raised).toEqual([5]);
    second.device.resume?.();
    expect(second.raised).toEqual([5]);
  });

  it("that a user gave stays when the guest branches, and takes the place of the one that was saved", () => {
    const original = create();
    const given = create({ guid: "324E6EAF-D1D1-4BF6-BF41-B9BB6C91FB87" });
    given.checkpoint.restore(original.checkpoint.save());
    given.device.branched?.();
    given.device.resume?.();
    expect([given.inRam(), given.raised]).toEqual(["af6e4e32d1d1f64bbf41b9bb6c91fb87", [5]]);
    const same = create({ guid: "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87" });
    same.checkpoint.restore(given.checkpoint.save());
    same.device.resume?.();
    expect(same.raised).toEqual([]);
  });

  it.each(["", "auto ", "324e6eaf", "324e6eafd1d14bf6bf41b9bb6c91fb87", 17])("refuses the GUID '%s'", (guid) => {
    expect(() => create({ guid })).toThrow(/a UUID or 'auto'/);
  });
});
