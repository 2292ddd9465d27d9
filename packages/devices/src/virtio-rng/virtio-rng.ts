import { randomFillSync } from "node:crypto";
import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import type { VirtioDevice, VirtioDriver } from "../virtio/virtio-device.ts";
import { virtioPciDevice, virtioPciProperties } from "../virtio/virtio-pci.ts";
import type { DescriptorChain } from "../virtio/virtqueue.ts";

const queueSize = 8;
/** The most that is given for one request: the host does not work for long at a time. */
const largestAnswer = 4096;

/** An entropy device (virtio 1.2 §5.4): it fills the driver's buffers with random bytes of the host's kernel. */
class VirtioRng implements VirtioDevice {
  readonly deviceId = 4;
  readonly queueSizes = [queueSize];
  readonly features = 0n;
  readonly configuration = new Uint8Array();
  readonly checkpoint = { kind: "stateless" } as const;
  readonly #random = new Uint8Array(largestAnswer);
  #driver: VirtioDriver | undefined;

  start(driver: VirtioDriver): void {
    this.#driver = driver;
  }

  notify(index: number): void {
    const queue = this.#driver?.queues[index];
    queue?.process((chain) => queue.push(chain, this.#answer(chain)));
  }

  reset(): void {
    this.#driver = undefined;
  }

  /** @returns the number of bytes written */
  #answer({ writable }: DescriptorChain): number {
    let written = 0;
    for (const buffer of writable) {
      const part = buffer.subarray(0, largestAnswer - written);
      const random = randomFillSync(this.#random.subarray(0, part.length));
      part.set(random);
      // What the guest was given is nobody else's to know.
      random.fill(0);
      written += part.length;
    }
    return written;
  }
}

/** Makes entropy devices. */
export class VirtioRngModel implements DeviceModel {
  readonly name = "virtio-rng-pci";
  readonly plugsInto = "pci";
  readonly properties = virtioPciProperties;

  create(context: DeviceContext): Device {
    return virtioPciDevice(context, () => new VirtioRng(), { name: this.name, deviceClass: 0x00_ff00 });
  }
}
