import type { BlockDevice, BlockDeviceSupports } from "../block-driver.ts";
import type { HostFile } from "../device.ts";
import { systemReason } from "../system-reason.ts";
import type { BlockFailure } from "./machine-control.ts";
import { QuietTime } from "./quiet-time.ts";

/** A disk that tells the control plane of requests that the host could not carry out; who made them is told too. */
export class ReportingBlockDevice implements BlockDevice {
  readonly id: string;
  readonly driver: string;
  readonly path: string;
  readonly size: number;
  readonly readOnly: boolean;
  readonly logicalBlockSize: number;
  readonly supports: BlockDeviceSupports;
  readonly hostFile: HostFile | undefined;
  readonly #device: BlockDevice;
  readonly #onFailure: (failure: BlockFailure) => void;
  readonly #quiet = new QuietTime();

  constructor(device: BlockDevice, onFailure: (failure: BlockFailure) => void) {
    this.id = device.id;
    this.driver = device.driver;
    this.path = device.path;
    this.size = device.size;
    this.readOnly = device.readOnly;
    this.logicalBlockSize = device.logicalBlockSize;
    this.supports = device.supports;
    this.hostFile = device.hostFile;
    this.#device = device;
    this.#onFailure = onFailure;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.#observe("read", this.#device.read(offset, buffers));
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.#observe("write", this.#device.write(offset, buffers));
  }

  flush(): Promise<void> {
    return this.#observe("write", this.#device.flush());
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#observe("write", this.#device.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Promise<void> {
    return this.#observe("write", this.#device.writeZeroes(offset, length, unmap));
  }

  lock(): Promise<void> {
    return this.#device.lock();
  }

  unlock(): void {
    this.#device.unlock();
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  #observe(operation: BlockFailure["operation"], request: Promise<void>): Promise<void> {
    return request.catch((error: unknown) => {
      if (this.#quiet.mayTell(operation)) {
        const noSpace = (error as NodeJS.ErrnoException).code === "ENOSPC";
        this.#onFailure({ id: this.id, path: this.path, operation, noSpace, reason: systemReason(error) });
      }
      throw error;
    });
  }
}
