import { deviceCompliance } from "@cpr/testkit/device";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { VirtioRngModel } from "../src/index.ts";
import { DriverQueue } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { contextFor, makeHost } from "./virtio-pci-echo.ts";

const make = (context: FakeDeviceContext) =>
  new VirtioRngModel().create(contextFor(context, context.id, { bus: makeHost(context).host }));

function begin(context: FakeDeviceContext): { driver: VirtioPciDriver; queue: DriverQueue } {
  const driver = new VirtioPciDriver(context.bus, 1);
  driver.negotiate(0n);
  const queue = new DriverQueue(context.memory, 0x4000, 8);
  driver.setUpQueue(0, queue);
  driver.ready();
  return { driver, queue };
}

deviceCompliance({
  name: "virtio-rng-pci",
  create: make,
  disturb: (_device, context) => {
    const { driver, queue } = begin(context);
    queue.offer({ writable: [64] });
    driver.notify(0);
  },
});

describe("virtio-rng-pci", () => {
  it("fills buffers with bytes that are not the same again, up to 4 KiB for a request", () => {
    const context = new FakeDeviceContext();
    make(context);
    const { driver, queue } = begin(context);
    expect(driver.configuration(0, 4)).toBe(0x1044_1af4);
    queue.offer({ writable: [64] });
    queue.offer({ writable: [64, 6000] });
    queue.offer({ readable: [new Uint8Array(4)] });
    driver.notify(0);
    const [first, second, third] = queue.takeUsed();
    expect([first?.length, second?.length, third?.length]).toEqual([64, 4096, 0]);
    const [one, other, long] = [first?.written[0], second?.written[0], second?.written[1]];
    expect(new Set(one).size).toBeGreaterThan(16);
    expect(one).not.toEqual(other);
    expect(long?.subarray(0, 4032).filter((byte) => byte !== 0).length).toBeGreaterThan(3000);
    expect(long?.subarray(4032).every((byte) => byte === 0)).toBe(true);
  });
});
