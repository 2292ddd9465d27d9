import { isDeepStrictEqual } from "node:util";
import { type BlockDevice, type BlockDeviceOptions, BlockDriver } from "../block-driver.ts";
import type { HostFile } from "../device.ts";
import { blockErrors } from "../errors/block-errors.ts";
import type { Kernel } from "../kernel.ts";
import { observeFiles } from "../migration/host-files.ts";
import type { FileFacts } from "../stream/description-section.ts";
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
  /** What the images were like when they were released. */
  #released: readonly FileFacts[] | undefined;

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

  /**
   * Locks all of them, or none.
   *
   * @throws {CprError} ERR_CPR_BLOCK_LOCKED if another process has one, ERR_CPR_BLOCK_MOVED_ON if one has had it since {@link release}.
   */
  async lock(): Promise<void> {
    try {
      for (const device of this.#devices) {
        await device.lock();
      }
      await this.#checkReleased();
    } catch (error) {
      this.#unlock();
      throw error;
    }
    this.#released = undefined;
  }

  /** Gives the locks up, so that another VM can go on with the disks. */
  async release(): Promise<void> {
    this.#released = await observeFiles(this.#images);
    this.#unlock();
  }

  async flush(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.flush()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.close()));
    this.#open.clear();
  }

  /** Fails if somebody has changed an image while this VM did not have it: what its guest knows of the disk is wrong then. */
  async #checkReleased(): Promise<void> {
    if (this.#released === undefined) {
      return;
    }
    const now = await observeFiles(this.#images);
    const changed = this.#released.find((before, index) => !isDeepStrictEqual(before, now[index]));
    if (changed !== undefined) {
      throw blockErrors.ERR_CPR_BLOCK_MOVED_ON({ id: changed.id, path: changed.path });
    }
  }

  #unlock(): void {
    for (const device of this.#devices) {
      device.unlock();
    }
  }

  get #images(): readonly HostFile[] {
    return this.#devices.flatMap(({ hostFile }) => hostFile ?? []);
  }

  get #devices(): readonly BlockDevice[] {
    return [...this.#open.values()].map(({ device }) => device);
  }
}
