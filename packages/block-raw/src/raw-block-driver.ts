import { constants, fstatSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import {
  type BlockDevice,
  type BlockDeviceOptions,
  type BlockDeviceSupports,
  type BlockDriver,
  blockErrors,
  systemReason,
} from "@cpr/core";
import { logicalBlockSize, sizeOf } from "@cpr/native-mman";
import { imageFormat } from "./image-format.ts";
import { RawBlockDevice } from "./raw-block-device.ts";

/** What a regular file is read and written in. */
const sectorSize = 512;

/** The driver `raw`: the bytes of the disk are those of a regular file or of a block device of the host. */
export class RawBlockDriver implements BlockDriver {
  readonly name = "raw";
  readonly supports: BlockDeviceSupports = { discard: true, locking: true };

  /**
   * @throws {CprError} ERR_CPR_BLOCK_OPTION, ERR_CPR_BLOCK_OPEN, ERR_CPR_BLOCK_KIND, ERR_CPR_BLOCK_FORMAT,
   * ERR_CPR_NATIVE_UNAVAILABLE
   */
  async open(options: BlockDeviceOptions): Promise<BlockDevice> {
    const { id, path, readOnly, cache, assumed = false } = options;
    if (cache.direct) {
      throw blockErrors.ERR_CPR_BLOCK_OPTION({
        id,
        option: "cache.direct=on",
        reason: "is not supported: use cache=writeback, which is the default and as safe for the guest",
      });
    }
    // Without O_NONBLOCK the opening of a pipe would wait for its other end; regular files and disks do not heed it.
    const flags = (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK;
    let file: FileHandle;
    try {
      file = await open(path, flags);
    } catch (cause) {
      throw blockErrors.ERR_CPR_BLOCK_OPEN({ path, reason: systemReason(cause) }, { cause });
    }
    try {
      const facts = fstatSync(file.fd);
      if (!facts.isFile() && !facts.isBlockDevice()) {
        throw blockErrors.ERR_CPR_BLOCK_KIND({ path });
      }
      const format = assumed ? await imageFormat(file) : undefined;
      if (format !== undefined) {
        throw blockErrors.ERR_CPR_BLOCK_FORMAT({ path, format });
      }
      return new RawBlockDevice(options, file, {
        size: Math.ceil(sizeOf(file.fd) / sectorSize) * sectorSize,
        logicalBlockSize: facts.isFile() ? sectorSize : logicalBlockSize(file.fd),
      });
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}
