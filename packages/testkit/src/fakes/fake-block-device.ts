import type { BlockDevice, BlockDeviceSupports, HostFile } from "@cpr/core";

/** What a test may choose of a {@link FakeBlockDevice}. */
export interface FakeBlockDeviceOptions {
  /** `disk0` by default. */
  readonly id?: string;
  /** Bytes; 1 MiB by default. */
  readonly size?: number;
  /** Where its bytes are; zeroes of its own by default. */
  readonly contents?: Uint8Array;
  readonly readOnly?: boolean;
  readonly logicalBlockSize?: number;
  /** Of its {@link BlockDevice.hostFile}; none by default. */
  readonly path?: string;
}

/** A request that was made of a {@link FakeBlockDevice}. */
export interface FakeBlockRequest {
  readonly operation: "read" | "write" | "flush" | "discard" | "write-zeroes";
  readonly offset: number;
  readonly length: number;
  readonly unmap: boolean;
}

/** A disk in memory. It remembers what was asked of it, and can wait with its answers, give them in another order, or fail. */
export class FakeBlockDevice implements BlockDevice {
  readonly id: string;
  readonly driver: string = "fake";
  readonly path: string;
  readonly size: number;
  readonly readOnly: boolean;
  readonly logicalBlockSize: number;
  readonly supports: BlockDeviceSupports = { discard: true, locking: false };
  readonly hostFile: HostFile | undefined;
  readonly contents: Uint8Array;
  /** All requests, in the order in which they came. */
  readonly requests: FakeBlockRequest[] = [];
  locked = false;
  closed = false;
  /** Requests wait for {@link release}. */
  held = false;
  /** The code of the error that requests end with; undefined: they succeed. */
  failure: string | undefined;
  readonly #waiting: (() => void)[] = [];

  constructor(options: FakeBlockDeviceOptions = {}) {
    this.id = options.id ?? "disk0";
    this.contents = options.contents ?? new Uint8Array(options.size ?? 1 << 20);
    this.size = this.contents.length;
    this.readOnly = options.readOnly ?? false;
    this.logicalBlockSize = options.logicalBlockSize ?? 512;
    this.path = options.path ?? "";
    this.hostFile = options.path === undefined ? undefined : { id: this.id, path: options.path };
  }

  /** How many requests wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Carries requests out that wait: the one at an index, or all of them and those to come. */
  release(index?: number): void {
    if (index === undefined) this.held = false;
    for (const carryOut of this.#waiting.splice(index ?? 0, index === undefined ? this.#waiting.length : 1)) carryOut();
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    return this.#request({ operation: "read", offset, length, unmap: false }, () => {
      let at = offset;
      for (const buffer of buffers) {
        buffer.set(this.contents.subarray(at, at + buffer.length));
        at += buffer.length;
      }
    });
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    return this.#request({ operation: "write", offset, length, unmap: false }, () => {
      let at = offset;
      for (const buffer of buffers) {
        this.contents.set(buffer, at);
        at += buffer.length;
      }
    });
  }

  flush(): Promise<void> {
    return this.#request({ operation: "flush", offset: 0, length: 0, unmap: false }, () => undefined);
  }

  discard(offset: number, length: number): Promise<void> {
    const request = { operation: "discard", offset, length, unmap: true } as const;
    return this.#request(request, () => this.contents.fill(0, offset, offset + length));
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Promise<void> {
    const request = { operation: "write-zeroes", offset, length, unmap } as const;
    return this.#request(request, () => this.contents.fill(0, offset, offset + length));
  }

  async lock(): Promise<void> {
    this.locked = true;
  }

  unlock(): void {
    this.locked = false;
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  async #request(request: FakeBlockRequest, carryOut: () => void): Promise<void> {
    const { operation, offset, length } = request;
    const changes = operation !== "read" && operation !== "flush";
    if (changes && this.readOnly) throw Object.assign(new Error("the disk is read-only"), { code: "EROFS" });
    const misplaced = [offset, length].some((each) => each < 0 || each % this.logicalBlockSize !== 0);
    if (misplaced || offset + length > this.size) {
      throw new RangeError(`${length} bytes at ${offset} of a disk of ${this.size}`);
    }
    this.requests.push(request);
    await new Promise<void>((resolve, reject) => {
      const act = (): void => {
        if (this.failure === undefined) {
          carryOut();
          resolve();
        } else {
          reject(Object.assign(new Error(this.failure), { code: this.failure }));
        }
      };
      if (this.held) this.#waiting.push(act);
      else act();
    });
  }
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0);
}
