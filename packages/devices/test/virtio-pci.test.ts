import { deviceCompliance } from "@cpr/testkit/device";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { DriverQueue } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { capitals, makeEcho, SlowEchoDevice } from "./virtio-pci-echo.ts";

const needsReset = 64;
const indirect = 1n << 28n;
const eventIndex = 1n << 29n;
const version1 = 1n << 32n;
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("latin1");
const request = (content: string) => ({ readable: [Buffer.from(content)], writable: [16] });

deviceCompliance({
  name: "virtio device on the PCI bus",
  create: (context) => makeEcho(context).device,
  disturb: (_device, context) => {
    const driver = new VirtioPciDriver(context.bus, 1);
    driver.negotiate(capitals);
    driver.enableMessages(3);
    driver.setConfigurationVector(0);
    driver.configure(0x3c, 1, 7);
    const queue = new DriverQueue(context.memory, 0x4000, 4);
    driver.setUpQueue(0, queue, 1);
    driver.ready();
    queue.offer(request("one"));
    queue.offer({ readable: [Buffer.from("x")] });
    driver.notify(0);
    const { table } = driver.messageRange();
    context.bus.mmio.write(table + 16 + 12, 4, 1);
    queue.offer(request("two"));
    driver.notify(0);
  },
});

describe("a virtio device on the PCI bus", () => {
  let context: FakeDeviceContext;
  let parts: ReturnType<typeof makeEcho>;
  let driver: VirtioPciDriver;
  let queue: DriverQueue;

  beforeEach(() => {
    context = new FakeDeviceContext();
    parts = makeEcho(context);
    driver = new VirtioPciDriver(context.bus, 1);
    queue = new DriverQueue(context.memory, 0x4000, 8);
  });
  const begin = (features = 0n): void => {
    expect(driver.negotiate(features)).toBe(true);
    driver.setUpQueue(0, queue, 1);
    driver.ready();
  };

  it("tells what it is", () => {
    expect(driver.configuration(0, 4)).toBe(0x106a_1af4);
    expect(driver.configuration(8, 4)).toBe(0x00ff_0001);
    expect([...driver.structures.keys()].sort()).toEqual([1, 2, 3, 4, 5]);
    expect(driver.offered).toBe(capitals | indirect | eventIndex | version1);
    expect(driver.read(1, 0x12, 2)).toBe(2);
  });

  it("answers requests, and interrupts with the message of the queue", () => {
    begin(capitals);
    driver.enableMessages(3);
    queue.offer(request("hello"));
    driver.notify(0);
    const [used] = queue.takeUsed();
    expect(used?.length).toBe(5);
    expect(text(used?.written[0]).slice(0, 5)).toBe("HELLO");
    expect(parts.apicBus.messages.map(({ vector }) => vector)).toEqual([0x41]);
    expect(driver.read(4, 0, 4)).toBe(1);
  });

  it("asserts its interrupt pin without MSI-X until the status is read", () => {
    begin();
    queue.offer(request("hello"));
    driver.notify(0);
    expect(context.levels()[17]).toBe(true);
    expect(driver.configuration(6, 2) & 8).toBe(8);
    expect(driver.read(3, 0, 1)).toBe(1);
    expect(context.levels()[17]).toBe(false);
    queue.offer({ readable: [Buffer.from("x")] });
    driver.configure(4, 2, 0x0406);
    driver.notify(0);
    expect(context.levels()[17]).toBe(false);
    driver.configure(4, 2, 0x0006);
    expect(context.levels()[17]).toBe(true);
    expect(driver.read(3, 0, 1)).toBe(3);
  });

  it("keeps a message pending while its vector or all are masked", () => {
    begin();
    driver.enableMessages(3);
    const { table, pending } = driver.messageRange();
    context.bus.mmio.write(table + 16 + 12, 4, 1);
    queue.offer(request("a"));
    driver.notify(0);
    expect(parts.apicBus.messages).toEqual([]);
    expect(context.bus.mmio.read(pending, 4)).toBe(2);
    driver.configure((driver.messageCapability ?? 0) + 2, 2, 0xc000);
    context.bus.mmio.write(table + 16 + 12, 4, 0);
    expect(parts.apicBus.messages).toEqual([]);
    driver.configure((driver.messageCapability ?? 0) + 2, 2, 0x8000);
    expect(parts.apicBus.messages).toEqual([
      { destination: 0, logical: false, deliveryMode: "fixed", vector: 0x41, trigger: "edge" },
    ]);
    expect(context.bus.mmio.read(pending, 4)).toBe(0);
  });

  it("tells of a changed configuration with the configuration's vector and another generation", () => {
    begin();
    driver.enableMessages(3);
    expect(driver.setConfigurationVector(2)).toBe(2);
    const before = driver.read(1, 0x15, 1);
    parts.echo.transport.configurationChanged();
    expect(driver.read(1, 0x15, 1)).toBe(before + 1);
    expect(parts.apicBus.messages.map(({ vector }) => vector)).toEqual([0x42]);
    expect(driver.setConfigurationVector(3)).toBe(0xffff);
  });

  it.each([
    ["without VERSION_1", 0n, false],
    ["that it does not offer", version1 | 1n, false],
    ["that it offers", version1 | capitals, true],
  ])("takes or refuses features %s", (_, features, taken) => {
    driver.status = 3;
    for (const select of [0, 1]) {
      driver.write(1, 0x08, 4, select);
      driver.write(1, 0x0c, 4, Number((features >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    driver.status = 3 | 8 | 4;
    expect(driver.status).toBe(taken ? 15 : 3);
    expect(parts.echo.calls.includes("start")).toBe(taken);
  });

  it("has a doorbell for each queue, wherever the guest puts it, which two bytes of zero ring", () => {
    driver.negotiate(0n);
    driver.setUpQueue(0, queue, 1);
    driver.ready();
    const [first = 0] = context.bus.mmio.doorbells();
    expect(context.bus.mmio.doorbells()).toEqual(parts.echo.queueSizes.map((_, index) => first + 4 * index));
    queue.offer(request("hello"));
    context.bus.mmio.write(first, 2, 0);
    expect(text(queue.takeUsed()[0]?.written[0]).slice(0, 5)).toBe("hello");

    let changes = 0;
    context.bus.mmio.onDoorbellsChange = () => {
      changes += 1;
    };
    driver.configure(4, 2, 0);
    expect(context.bus.mmio.doorbells()).toEqual([]);
    driver.configure(4, 2, 6);
    expect(context.bus.mmio.doorbells()).toHaveLength(parts.echo.queueSizes.length);
    expect(changes).toBe(2);
  });

  it("needs a reset after a queue that cannot be, and works after it", () => {
    driver.negotiate(0n);
    driver.enableMessages(3);
    driver.setConfigurationVector(0);
    driver.setUpQueue(0, queue, 1);
    driver.ready();
    queue.makeAvailable(99);
    driver.notify(0);
    expect(driver.status & needsReset).toBe(needsReset);
    expect(parts.apicBus.messages.map(({ vector }) => vector)).toEqual([0x40]);
    driver.notify(0);
    expect(context.driverFailures).toEqual(["queue 0: a chain leads to descriptor 99 of 8"]);
    driver.status = 0;
    expect(driver.status).toBe(0);
    queue = new DriverQueue(context.memory, 0x8000, 8);
    begin();
    queue.offer(request("again"));
    driver.notify(0);
    expect(text(queue.takeUsed()[0]?.written[0]).slice(0, 5)).toBe("again");
  });

  it("shows no status of 0 while a reset waits for what is under way", async () => {
    const slowContext = new FakeDeviceContext();
    const { device, echo } = makeEcho(slowContext, {}, SlowEchoDevice);
    const slow = new VirtioPciDriver(slowContext.bus, 1);
    slow.negotiate(0n);
    slow.ready();
    slow.status = 0;
    expect(slow.status).not.toBe(0);
    slow.status = 1;
    const paused = device.pause?.();
    echo.end();
    await vi.waitFor(() => expect(slow.status).toBe(0));
    // A VM that stands still meanwhile keeps the device still.
    await vi.waitFor(() => expect(echo.calls).toEqual(["reset", "start", "pause", "reset", "pause"]));
    echo.end();
    await paused;
    device.resume?.();
    expect(echo.calls.at(-1)).toBe("resume");
  });

  it("notifies of what came while it was paused", async () => {
    begin();
    await parts.device.pause?.();
    queue.offer(request("late"));
    driver.notify(0);
    expect(queue.takeUsed()).toEqual([]);
    parts.device.resume?.();
    expect(queue.takeUsed()).toHaveLength(1);
  });

  it("takes no request and sends no message while it may not access RAM", () => {
    begin();
    driver.enableMessages(3);
    driver.configure(4, 2, 0x0002);
    queue.offer(request("a"));
    driver.notify(0);
    parts.echo.transport.configurationChanged();
    expect(queue.takeUsed()).toEqual([]);
    expect(parts.apicBus.messages).toEqual([]);
    driver.configure(4, 2, 0x0006);
    expect(queue.takeUsed()).toHaveLength(1);
    expect(parts.apicBus.messages.map(({ vector }) => vector)).toEqual([0x41]);
  });

  it("goes on by itself with a queue that is filled as fast as it is emptied, unless it is paused", async () => {
    begin();
    const { echo } = parts;
    let refills = 20;
    const push = queue.offer.bind(queue);
    push(request("a"));
    const process = echo.notify.bind(echo);
    echo.notify = (index) => {
      const ring = echo.driver?.queues[0];
      if (refills > 0 && ring !== undefined) {
        ring.process((chain) => {
          ring.push(chain, 0);
          if (refills > 0) push(request("a"));
          refills -= 1;
        });
      } else process(index);
    };
    driver.notify(0);
    expect(queue.takeUsed()).toHaveLength(8);
    await parts.device.pause?.();
    await new Promise(setImmediate);
    expect(queue.takeUsed()).toEqual([]);
    parts.device.resume?.();
    expect(queue.takeUsed()).toHaveLength(8);
    await vi.waitFor(() => expect(refills).toBeLessThan(0));
    expect(queue.takeUsed()).toHaveLength(5);
  });

  it("can be reached through configuration space", () => {
    begin();
    const at = driver.structures.get(5)?.capability ?? 0;
    const reach = (offset: number, length: number): void => {
      driver.configure(at + 4, 1, 4);
      driver.configure(at + 8, 4, offset);
      driver.configure(at + 12, 4, length);
    };
    reach(0x14, 1);
    expect(driver.configuration(at + 16, 1)).toBe(15);
    reach(0x2004, 2);
    driver.configure(at + 16, 2, 0x1234);
    expect(parts.echo.calls.at(-1)).toBe("write 4 2 4660");
    reach(0x4000, 4);
    expect(driver.configuration(at + 16, 4)).toBe(0);
  });

  it("goes on in another process with the same queues", () => {
    begin();
    driver.enableMessages(3);
    queue.offer(request("before"));
    driver.notify(0);
    const copyContext = new FakeDeviceContext();
    copyContext.memory.bytes.set(context.memory.bytes);
    const copy = makeEcho(copyContext);
    if (parts.device.checkpoint.kind !== "state" || copy.device.checkpoint.kind !== "state")
      throw new Error("stateless");
    copy.device.checkpoint.restore(parts.device.checkpoint.save());
    copy.device.resume?.();
    const other = new DriverQueue(copyContext.memory, 0x4000, 8);
    other.takeUsed();
    queue.offer(request("after"));
    copyContext.memory.bytes.set(context.memory.bytes);
    new VirtioPciDriver(copyContext.bus, 1).notify(0);
    expect(copy.echo.count).toBe(2);
    expect(copy.apicBus.messages.map(({ vector }) => vector)).toEqual([0x41]);
  });

  it("has no MSI-X with vectors=0, and no vector that there is not", () => {
    const other = new FakeDeviceContext();
    makeEcho(other, { vectors: "0", addr: "1f.0" });
    const without = new VirtioPciDriver(other.bus, 31);
    expect(without.messageCapability).toBeUndefined();
    expect(without.setConfigurationVector(0)).toBe(0xffff);
  });
});
