import { setImmediate as turn } from "node:timers/promises";
import { GuestMemory, isCprError, layOutRam, networkHeaderSize } from "@cpr/core";
import { pseudoRandomBytes } from "@cpr/testkit";
import { deviceCompliance } from "@cpr/testkit/device";
import { FakeDeviceContext, RecordingNetworkLink } from "@cpr/testkit/fakes";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { VirtioNetworkPciModel } from "../src/index.ts";
import { networkFeature, queueIndex } from "../src/virtio-net/registers.ts";
import { VirtioNetwork } from "../src/virtio-net/virtio-network.ts";
import { DriverQueue, queuePair } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { contextFor, makeHost } from "./virtio-pci-echo.ts";

const mac = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const everybody = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
const some = networkFeature.status | networkFeature.controlQueue | networkFeature.controlReceive;

const make = (context: FakeDeviceContext, properties = {}) =>
  new VirtioNetworkPciModel().create(
    contextFor(context, context.id, { bus: makeHost(context).host, netdev: "n0", ...properties }),
  );

deviceCompliance({
  name: "virtio-net-pci",
  create: (context) => make(context, { host_mtu: "1400" }),
  disturb: (_device, context) => {
    const driver = new VirtioPciDriver(context.bus, 1);
    driver.negotiate(
      some | networkFeature.announce | networkFeature.controlMacAddress | networkFeature.mergeableBuffers,
    );
    driver.enableMessages(4);
    const queues = [0x4000, 0x8000, 0xc000].map((base) => new DriverQueue(context.memory, base, 16));
    for (const [index, queue] of queues.entries()) driver.setUpQueue(index, queue, index + 1);
    driver.ready();
    const command = (...bytes: number[]): void => {
      queues[queueIndex.control]?.offer({ readable: [Uint8Array.from(bytes)], writable: [1] });
      driver.notify(queueIndex.control);
    };
    command(0, 0, 0);
    command(0, 1, 1);
    command(1, 0, 1, 0, 0, 0, ...mac, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1);
    command(1, 1, 2, 2, 3, 4, 5, 6);
  },
});

function frameTo(destination: Uint8Array, length = 60, seed = 1): Uint8Array {
  const frame = pseudoRandomBytes(length, seed);
  frame.set(destination);
  return frame;
}

/** A card with the driver's side of its queues. */
function setUp({
  features = some,
  link = new RecordingNetworkLink(),
  size = 16,
}: {
  features?: bigint;
  link?: RecordingNetworkLink;
  size?: number;
} = {}) {
  const memory = new GuestMemory(new Uint8Array(4 << 20), layOutRam(4 << 20));
  const told = { configuration: 0, troubles: [] as string[] };
  const device = new VirtioNetwork(
    { id: "net0", link, mac, mtu: undefined },
    {
      configurationChanged: () => {
        told.configuration += 1;
      },
      needsReset: (reason) => told.troubles.push(reason),
    },
  );
  const pairs = [0x10_000, 0x100_000, 0x200_000].map((base) => queuePair(memory, base, size));
  for (const { queue, driver } of pairs) driver.setUp(queue);
  const [receive, transmit, control] = pairs as [(typeof pairs)[0], (typeof pairs)[0], (typeof pairs)[0]];
  const start = (target = device, agreed = features): void =>
    target.start({ features: agreed, queues: pairs.map(({ queue }) => queue) });
  start();
  const ask = (...bytes: number[]): number | undefined => {
    control.driver.offer({ readable: [Uint8Array.from(bytes)], writable: [1] });
    device.notify(queueIndex.control);
    return control.driver.takeUsed()[0]?.written[0]?.[0];
  };
  const status = (): number => device.configuration[6] as number;
  return { memory, device, link, told, receive, transmit, control, start, ask, status };
}

describe("virtio-net, to the network", () => {
  it.each([
    ["with the header by itself", [12, 60]],
    ["in one piece", [72]],
    ["in pieces", [5, 20, 1, 46]],
  ])("sends a frame %s", async (_what, cuts) => {
    const { device, link, transmit } = setUp();
    const frame = frameTo(everybody);
    const whole = Buffer.concat([new Uint8Array(networkHeaderSize), frame]);
    const starts = cuts.map((_, index) => cuts.slice(0, index).reduce((sum, length) => sum + length, 0));
    const readable = starts.map((at, index) => new Uint8Array(whole.subarray(at, at + (cuts[index] as number))));
    transmit.driver.offer({ readable });
    device.notify(queueIndex.transmit);
    await turn();
    expect(link.sent).toEqual([frame]);
    expect(transmit.driver.takeUsed()).toMatchObject([{ length: 0 }]);
  });

  it("hands the header on to a network with offloads", async () => {
    const { device, link, transmit } = setUp({ link: new RecordingNetworkLink({ offloads: true }) });
    const header = Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0);
    transmit.driver.offer({ readable: [header, frameTo(everybody)] });
    device.notify(queueIndex.transmit);
    await turn();
    expect(link.sent[0]?.subarray(0, networkHeaderSize)).toEqual(header);
  });

  it("leaves frames in the queue that the network does not take, and sends them when it does", async () => {
    const { device, link, transmit } = setUp();
    link.room = 2;
    const frames = Array.from({ length: 5 }, (_, index) => frameTo(everybody, 60, index + 1));
    for (const frame of frames) transmit.driver.offer({ readable: [new Uint8Array(networkHeaderSize), frame] });
    device.notify(queueIndex.transmit);
    await turn();
    expect(transmit.driver.takeUsed()).toHaveLength(2);
    expect(transmit.queue.inFlight).toBe(0);
    link.room = 10;
    link.card?.sendable();
    expect(link.sent).toEqual(frames);
    expect(transmit.driver.takeUsed()).toHaveLength(3);
  });

  it("sends all that is there by its turn, and tells of it once", async () => {
    const { device, link, transmit } = setUp();
    const frames = Array.from({ length: 3 }, (_, index) => frameTo(everybody, 60, index + 1));
    for (const frame of frames) {
      transmit.driver.offer({ readable: [new Uint8Array(networkHeaderSize), frame] });
      device.notify(queueIndex.transmit);
    }
    expect(link.sent).toEqual([]);
    await turn();
    expect(link.sent).toEqual(frames);
    expect(transmit.told.interrupts).toBe(1);
  });

  it("sends nothing while it is paused", async () => {
    const { device, link, transmit } = setUp();
    await device.pause();
    transmit.driver.offer({ readable: [new Uint8Array(networkHeaderSize), frameTo(everybody)] });
    link.card?.sendable();
    expect(link.sent).toEqual([]);
    device.resume();
    device.notify(queueIndex.transmit);
    await turn();
    expect(link.sent).toHaveLength(1);
  });

  it.each([
    ["without a whole header", { readable: [new Uint8Array(11)] }],
    ["that can be written", { readable: [new Uint8Array(72)], writable: [1] }],
  ])("needs a reset after a frame %s", async (_what, request) => {
    const { device, told, transmit, start } = setUp();
    transmit.driver.offer(request);
    device.notify(queueIndex.transmit);
    await turn();
    expect(told.troubles).toHaveLength(1);
    device.notify(queueIndex.transmit);
    await turn();
    expect(told.troubles).toHaveLength(1);
    device.reset();
    start();
    device.notify(queueIndex.transmit);
    await turn();
  });
});

describe("virtio-net, from the network", () => {
  it("puts a frame into a buffer behind a header, and tells once of all that came together", async () => {
    const { link, receive } = setUp();
    for (let index = 0; index < 3; index += 1) receive.driver.offer({ writable: [12, 1514] });
    const frames = [60, 61, 1514].map((length, index) => frameTo(everybody, length, index + 1));
    for (const frame of frames) link.deliver(frame);
    expect(receive.told.interrupts).toBe(0);
    await turn();
    expect(receive.told.interrupts).toBe(1);
    const used = receive.driver.takeUsed();
    expect(used.map(({ length }) => length)).toEqual([72, 73, 1526]);
    for (const [index, frame] of frames.entries()) {
      expect(used[index]?.written[0]).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
      expect(used[index]?.written[1]?.subarray(0, frame.length)).toEqual(frame);
    }
  });

  it("takes no buffer without a frame, and leaves a frame in the network without a buffer", () => {
    const { device, link, receive } = setUp();
    receive.driver.offer({ writable: [1526] });
    device.notify(queueIndex.receive);
    expect(receive.queue.save().nextAvailable).toBe(0);
    link.deliver(frameTo(everybody, 60, 1));
    link.deliver(frameTo(everybody, 60, 2));
    expect([link.waiting, receive.driver.takeUsed().length]).toEqual([1, 1]);
    receive.driver.offer({ writable: [1526] });
    device.notify(queueIndex.receive);
    expect([link.waiting, receive.driver.takeUsed().length]).toEqual([0, 1]);
  });

  it("spreads a frame over buffers that can be merged, and says over how many", () => {
    const { device, link, receive } = setUp({ features: some | networkFeature.mergeableBuffers });
    const frame = frameTo(everybody, 1000);
    receive.driver.offer({ writable: [300, 100] });
    receive.driver.offer({ writable: [400] });
    link.deliver(frame);
    expect([link.waiting, receive.queue.inFlight, receive.driver.takeUsed().length]).toEqual([1, 0, 0]);
    receive.driver.offer({ writable: [500] });
    device.notify(queueIndex.receive);
    const used = receive.driver.takeUsed();
    expect(used.map(({ length }) => length)).toEqual([400, 400, 212]);
    const bytes = Buffer.concat(used.flatMap(({ written }) => written)).subarray(0, 1012);
    expect(bytes.readUInt16LE(10)).toBe(3);
    expect(new Uint8Array(bytes.subarray(12))).toEqual(frame);
  });

  it("loses a frame that no buffer can hold", () => {
    const { link, receive } = setUp();
    receive.driver.offer({ writable: [100] });
    link.deliver(frameTo(everybody, 200));
    expect([link.waiting, receive.driver.takeUsed().length]).toEqual([0, 0]);
    link.deliver(frameTo(everybody, 60));
    expect(receive.driver.takeUsed()).toHaveLength(1);
    const all = setUp({ features: some | networkFeature.mergeableBuffers, size: 4 });
    for (let index = 0; index < 4; index += 1) all.receive.driver.offer({ writable: [20] });
    all.link.deliver(frameTo(everybody, 200));
    expect([all.link.waiting, all.receive.driver.takeUsed().length]).toEqual([0, 0]);
  });

  it("says what is unfinished only to a driver that can do with it", () => {
    for (const [features, first] of [
      [some, 0],
      [some | networkFeature.guestChecksum, 1],
    ] as const) {
      const { link, receive } = setUp({ features, link: new RecordingNetworkLink({ offloads: true }) });
      expect(link.offloads).toEqual({ checksum: first === 1, tso4: false, tso6: false, ecn: false });
      receive.driver.offer({ writable: [1526] });
      const header = Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 99, 99);
      link.deliver(new Uint8Array(Buffer.concat([header, frameTo(everybody)])));
      const [used] = receive.driver.takeUsed();
      expect([used?.length, used?.written[0]?.[0], used?.written[0]?.[10]]).toEqual([72, first, 1]);
    }
  });

  it("gives the driver the frames that it wants", () => {
    const { link, receive, ask } = setUp();
    const gets = (destination: readonly number[]): boolean => {
      receive.driver.offer({ writable: [1526] });
      link.deliver(frameTo(Uint8Array.from(destination)));
      return receive.driver.takeUsed().length === 1;
    };
    const [mine, other, group] = [[...mac], [2, 0, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]];
    const wants = (): boolean[] => [mine, other, group, [...everybody]].map(gets);
    expect(wants()).toEqual([true, true, true, true]);
    expect(ask(0, 0, 0)).toBe(0);
    expect(wants()).toEqual([true, false, false, true]);
    expect(ask(0, 1, 1)).toBe(0);
    expect(wants()).toEqual([true, false, true, true]);
    expect(ask(0, 1, 0)).toBe(0);
    expect(ask(1, 0, 1, 0, 0, 0, ...other, 1, 0, 0, 0, ...group)).toBe(0);
    expect(wants()).toEqual([true, true, true, true]);
    const many = Array.from({ length: 65 }, (_, index) => [2, 0, 0, 0, 1, index]).flat();
    expect(ask(1, 0, 65, 0, 0, 0, ...many, 0, 0, 0, 0)).toBe(0);
    expect(wants()).toEqual([true, true, false, true]);
    expect(ask(1, 1, 2, 0, 0, 0, 0, 9)).toBe(0);
    expect(ask(1, 0, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect(wants()).toEqual([false, false, false, true]);
    expect(gets([2, 0, 0, 0, 0, 9])).toBe(true);
  });

  it("refuses commands that are none", () => {
    const { ask, control, device, told } = setUp();
    for (const bytes of [
      [0, 0],
      [0, 2, 1],
      [0, 0, 1, 1],
      [1, 0, 1, 0, 0, 0],
      [1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
      [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [1, 1, 1, 0, 0, 0, 0, 9],
      [1, 1, 2, 0, 0],
      [2, 0, 1, 0],
      [3, 1],
      [9, 9, 9],
    ]) {
      expect(ask(...bytes), bytes.join()).toBe(1);
    }
    expect(told.troubles).toEqual([]);
    control.driver.offer({ readable: [new Uint8Array(3)] });
    device.notify(queueIndex.control);
    expect(told.troubles).toHaveLength(1);
  });
});

describe("virtio-net, its link", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());

  /** The card of another process, with what was saved of this one. */
  async function moved(from: ReturnType<typeof setUp>, features: bigint, link = new RecordingNetworkLink()) {
    await from.device.pause();
    const to = setUp({ features, link });
    to.device.reset();
    if (from.device.checkpoint.kind !== "state" || to.device.checkpoint.kind !== "state") throw new Error("no state");
    to.device.checkpoint.restore(from.device.checkpoint.save());
    to.start();
    return to;
  }

  it("is told of when it changes", () => {
    const { link, told, status } = setUp();
    expect(status()).toBe(1);
    link.plug(false);
    expect([status(), told.configuration]).toEqual([0, 1]);
    link.plug(true);
    expect([status(), told.configuration]).toEqual([1, 2]);
    link.plug(true);
    expect(told.configuration).toBe(2);
  });

  it("has a driver that can do so announce itself in the new process, several times", async () => {
    const features = some | networkFeature.announce;
    const to = await moved(setUp({ features }), features);
    expect([to.status(), to.told.configuration]).toEqual([1, 0]);
    to.device.resume();
    vi.advanceTimersByTime(60);
    expect([to.status(), to.told.configuration]).toEqual([3, 1]);
    expect(to.ask(3, 0)).toBe(0);
    expect(to.status()).toBe(1);
    vi.advanceTimersByTime(10_000);
    expect([to.status(), to.told.configuration]).toEqual([3, 5]);
    expect(to.link.sent).toEqual([]);
    await to.device.pause();
    to.device.resume();
    vi.advanceTimersByTime(10_000);
    expect(to.told.configuration).toBe(5);
  });

  it("is announced for a driver that cannot", async () => {
    const to = await moved(setUp(), some);
    to.device.resume();
    vi.advanceTimersByTime(10_000);
    expect(to.told.configuration).toBe(0);
    expect(to.link.sent).toHaveLength(5);
    const [frame = new Uint8Array()] = to.link.sent;
    const text = Buffer.from(frame).toString("hex");
    expect(text).toMatch(/^ffffffffffff525400123456803500010800060400035254001234560{8}5254001234560{8}0+$/);
    expect(frame).toHaveLength(60);
  });

  it("takes a state only over a network that can do what the driver expects, and says so", async () => {
    const features = some | networkFeature.checksum | (1n << 32n);
    const savedContext = new FakeDeviceContext();
    savedContext.networks.set("n0", new RecordingNetworkLink({ offloads: true }));
    const saved = make(savedContext);
    const driver = new VirtioPciDriver(savedContext.bus, 1);
    expect(driver.negotiate(features)).toBe(true);
    driver.ready();
    const other = make(new FakeDeviceContext());
    if (saved.checkpoint.kind !== "state" || other.checkpoint.kind !== "state") throw new Error("no state");
    const state = saved.checkpoint.save();
    let thrown: unknown;
    try {
      other.checkpoint.restore(state);
    } catch (error) {
      thrown = error;
    }
    expect(isCprError(thrown)).toBe(true);
    expect((thrown as Error).message).toMatch(/leaves checksums and segmentation to the network/);
  });
});

describe("the model virtio-net-pci", () => {
  it.each([
    [{ mac: "52:54:00:12:34" }, "mac"],
    [{ mac: "53:54:00:12:34:56" }, "mac"],
    [{ host_mtu: "67" }, "host_mtu"],
    [{ netdev: "" }, "netdev"],
  ])("refuses %j", (properties, name) => {
    expect(() => make(new FakeDeviceContext(), properties)).toThrow(`'${name}'`);
  });

  it("has the address and the MTU that it is given", () => {
    const context = new FakeDeviceContext();
    make(context, { mac: "52-54-00-AB-cd-ef", host_mtu: "9000" });
    const driver = new VirtioPciDriver(context.bus, 1);
    driver.negotiate(networkFeature.mtu);
    expect([0, 1, 2, 3, 4, 5].map((at) => driver.read(4, at, 1))).toEqual([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
    expect(driver.read(4, 10, 2)).toBe(9000);
    expect(driver.offered & (networkFeature.mtu | networkFeature.checksum)).toBe(networkFeature.mtu);
  });
});
