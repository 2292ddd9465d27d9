import { closeSync, fstat, fsync, ftruncate, openSync, read, type Stats, write } from "node:fs";
import { promisify } from "node:util";
import type { LentDescriptor } from "@cpr/core";

/** What sinks and sources need of an open file. A FileHandle of Node is one. */
export interface OpenFile {
  readonly fd: number;
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesWritten: number }>;
  stat(): Promise<Stats>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  /** Closes the file, or gives it back to whoever lent it. */
  close(): Promise<void>;
}

const fstatAsync = promisify(fstat);
/** fsync(2) on another thread: it takes as long as the disk does. */
export const syncDescriptor = promisify(fsync);
const ftruncateAsync = promisify(ftruncate);

/** A file by its descriptor, which is released at the end. */
export class DescriptorFile implements OpenFile {
  readonly fd: number;
  readonly #lent: LentDescriptor;

  constructor(lent: LentDescriptor) {
    this.fd = lent.descriptor;
    this.#lent = lent;
  }

  /** Opens a file of its own: see open(2). */
  static open(path: string, flags: number, mode?: number): DescriptorFile {
    const descriptor = openSync(path, flags, mode);
    return new DescriptorFile({ descriptor, release: () => closeSync(descriptor) });
  }

  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesRead: number }> {
    return new Promise((resolve, reject) => {
      read(this.fd, buffer, offset, length, position, (error, bytesRead) =>
        error === null ? resolve({ bytesRead }) : reject(error),
      );
    });
  }

  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesWritten: number }> {
    return new Promise((resolve, reject) => {
      write(this.fd, buffer, offset, length, position, (error, bytesWritten) =>
        error === null ? resolve({ bytesWritten }) : reject(error),
      );
    });
  }

  stat(): Promise<Stats> {
    return fstatAsync(this.fd);
  }

  truncate(length: number): Promise<void> {
    return ftruncateAsync(this.fd, length);
  }

  sync(): Promise<void> {
    return syncDescriptor(this.fd);
  }

  async close(): Promise<void> {
    this.#lent.release();
  }
}
