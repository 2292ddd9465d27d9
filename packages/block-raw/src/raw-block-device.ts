import { fdatasync, readv, writev } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { promisify } from "node:util";
import type { BlockDevice, BlockDeviceOptions, BlockDeviceSupports, HostFile } from "@cpr/core";
import { punchHoleLater, zeroRange } from "@cpr/native-mman";
import { lockImage, unlockImage } from "./image-lock.ts";
import { transfer } from "./transfer.ts";

const synchronize = promisify(fdatasync);

/** Zeroes that are written where the host has no better way. */
const zeroes = new Uint8Array(1 << 20);

/** The host cannot do it with this file: another way is taken from then on. */
const isUnsupported = (error: unknown): boolean =>
  ["ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "");

/** What {@link RawBlockDevice} is told of its file. */
interface Geometry {
  readonly size: number;
  readonly logicalBlockSize: number;
}

/**
 * A disk in a regular file or on a block device. Requests are carried out by the threads of libuv's pool, with one system call
 * each, straight from and to the buffers (preadv(2), pwritev(2), fdatasync(2), fallocate(2)).
 */
export class RawBlockDevice implements BlockDevice {
  readonly id: string;
  readonly driver: string;
  readonly path: string;
  readonly size: number;
  readonly readOnly: boolean;
  readonly logicalBlockSize: number;
  readonly supports: BlockDeviceSupports;
  readonly hostFile: HostFile;
  readonly #file: FileHandle;
  readonly #flushes: boolean;
  readonly #unmaps: boolean;
  #locked = false;
  /** The file system has no way to make zeroes other than to write them. */
  #writesZeroes = false;

  constructor(options: BlockDeviceOptions, file: FileHandle, { size, logicalBlockSize }: Geometry) {
    const { id, driver, path, readOnly, cache, discard, locking } = options;
    this.id = id;
    this.driver = driver;
    this.path = path;
    this.size = size;
    this.readOnly = readOnly;
    this.logicalBlockSize = logicalBlockSize;
    this.supports = { discard: discard === "unmap", locking };
    this.hostFile = { id, path };
    this.#file = file;
    this.#flushes = !cache.noFlush && !readOnly;
    this.#unmaps = discard === "unmap";
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.#checkRange(offset, lengthOf(buffers));
    const end = await transfer(readv, this.#file.fd, offset, buffers);
    // The file ends in its last sector.
    end?.forEach((buffer) => {
      buffer.fill(0);
    });
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.#checkWritable();
    this.#checkRange(offset, lengthOf(buffers));
    await this.#write(offset, buffers);
  }

  async flush(): Promise<void> {
    if (this.#flushes) await synchronize(this.#file.fd);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#checkWritable();
    this.#checkRange(offset, length);
    if (this.#unmaps && length > 0) await this.#punchHole(offset, length);
  }

  async writeZeroes(offset: number, length: number, unmap: boolean): Promise<void> {
    this.#checkWritable();
    this.#checkRange(offset, length);
    if (length === 0 || (unmap && this.#unmaps && (await this.#punchHole(offset, length)))) return;
    if (!this.#writesZeroes) {
      try {
        await zeroRange(this.#file.fd, offset, length);
        return;
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        this.#writesZeroes = true;
      }
    }
    for (let done = 0; done < length; done += zeroes.length) {
      await this.#write(offset + done, [zeroes.subarray(0, length - done)]);
    }
  }

  async lock(): Promise<void> {
    if (this.supports.locking && !this.#locked) {
      lockImage(this.#file.fd, this.path, this.readOnly);
      this.#locked = true;
    }
  }

  unlock(): void {
    if (this.#locked) {
      unlockImage(this.#file.fd);
      this.#locked = false;
    }
  }

  async close(): Promise<void> {
    this.unlock();
    await this.#file.close();
  }

  async #write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const rest = await transfer(writev, this.#file.fd, offset, buffers);
    if (rest !== undefined) throw Object.assign(new Error("nothing more was written"), { code: "EIO" });
  }

  /** @returns whether the host can do that with this file. */
  async #punchHole(offset: number, length: number): Promise<boolean> {
    try {
      await punchHoleLater(this.#file.fd, offset, length);
      return true;
    } catch (error) {
      if (!isUnsupported(error)) throw error;
      return false;
    }
  }

  #checkRange(offset: number, length: number): void {
    const block = this.logicalBlockSize;
    if (offset < 0 || length < 0 || offset + length > this.size || offset % block !== 0 || length % block !== 0) {
      throw new RangeError(`${length} bytes at ${offset} are not blocks of a disk of ${this.size} bytes`);
    }
  }

  #checkWritable(): void {
    if (this.readOnly) throw Object.assign(new Error(`the disk '${this.id}' is read-only`), { code: "EROFS" });
  }
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0);
}
