import { type BlockDevice, type BlockDeviceOptions, BlockDriver } from "../block-driver.ts";
import { blockErrors } from "../errors/block-errors.ts";
import type { Kernel } from "../kernel.ts";
import type { BlockDeviceDescription, BlockFailure } from "./machine-control.ts";
import { ReportingBlockDevice } from "./reporting-block-device.ts";

interface OpenBlockDevice {
  readonly options: BlockDeviceOptions;
  readonly device: BlockDevice;
  /** The id of the device of the machine that has it. */
  user: string | undefined;
}

/** The disks of one machine. They are opened before its devices are made, and each is taken by one of them at most. */
export class BlockDevices {
  readonly #open = new Map<string, OpenBlockDevice>();

  /**
   * Opens all of them, or none.
   *
   * @param onFailure - told of requests that the host could not carry out.
   * @throws {CprError} what is wrong with one of them.
   */
  static async open(
    kernel: Kernel,
    all: readonly BlockDeviceOptions[],
    onFailure: (failure: BlockFailure) => void,
  ): Promise<BlockDevices> {
    const result = new BlockDevices();
    try {
      for (const options of all) {
        const { id, driver, path } = options;
        if (result.#open.has(id)) {
          throw blockErrors.ERR_CPR_BLOCK_DUPLICATE({ id });
        }
        if (!kernel.has(BlockDriver, driver)) {
          throw blockErrors.ERR_CPR_NO_BLOCK_DRIVER({ name: driver, known: kernel.keys(BlockDriver), path });
        }
        const device = await (await kernel.get(BlockDriver, driver)).open(options);
        result.#open.set(id, { options, device: new ReportingBlockDevice(device, onFailure), user: undefined });
      }
    } catch (error) {
      await result.close();
      throw error;
    }
    return result;
  }

  get descriptions(): readonly BlockDeviceDescription[] {
    return [...this.#open.values()].map(({ options, device, user }) => ({ ...options, size: device.size, user }));
  }

  /**
   * Gives a disk to a device of the machine.
   *
   * @throws {CprError} ERR_CPR_BLOCK_DEVICE if there is none of that id, or another device has it.
   */
  take(id: string, user: string): BlockDevice {
    const found = this.#open.get(id);
    if (found === undefined || found.user !== undefined) {
      throw blockErrors.ERR_CPR_BLOCK_DEVICE({ id, known: [...this.#open.keys()], user: found?.user });
    }
    found.user = user;
    return found.device;
  }

  /** Locks all of them, or none. @throws {CprError} ERR_CPR_BLOCK_LOCKED */
  async lock(): Promise<void> {
    try {
      for (const device of this.#devices) {
        await device.lock();
      }
    } catch (error) {
      this.unlock();
      throw error;
    }
  }

  unlock(): void {
    for (const device of this.#devices) {
      device.unlock();
    }
  }

  async flush(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.flush()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.close()));
    this.#open.clear();
  }

  get #devices(): readonly BlockDevice[] {
    return [...this.#open.values()].map(({ device }) => device);
  }
}
