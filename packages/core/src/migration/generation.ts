import { type BigIntStats, existsSync, mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { removeFile, replaceFile } from "../durable-file.ts";
import { migrationErrors } from "../errors/migration-errors.ts";
import { hostFileSystem } from "../host-file-system.ts";
import type { MemoryBacking, MemoryObjectOptions } from "../memory-provider.ts";
import { stateFolder } from "../state-folder.ts";
import { pageSize } from "../stream/format.ts";

/** A memory object that is a device. */
interface MappedDevice {
  /** What it is known by: {@link MemoryBacking.identity}. */
  readonly identity: string | undefined;
  readonly memory: Uint8Array;
}

/** How many pages of a device's memory stand for all of it. */
const samples = 64;

/** The CRC-32 of pages that are as far from each other as they can be. */
function checksumOfSamples(memory: Uint8Array): number {
  const pages = memory.length / pageSize;
  return Array.from({ length: samples }, (_, index) => Math.floor((index * pages) / samples) * pageSize).reduce(
    (sum, start) => crc32(memory.subarray(start, start + pageSize), sum),
    0,
  );
}

/** A new generation: 32 hexadecimal digits that no other checkpoint has. */
export function newGeneration(): string {
  return crypto.getRandomValues(Buffer.alloc(16)).toString("hex");
}

/**
 * The mark that binds RAM which stays in place to the checkpoints that it belongs to: a small file beside the file of
 * the memory object, `PATH.cpr`, that holds their generations; for a device, and on hugetlbfs, it is in {@link stateFolder}. One is added
 * when the VM is saved; all are removed before the VM runs again. There are several if the VM was loaded, did not run,
 * and was saved once more.
 *
 * The mark of a file also has its size and when it was written to last, so that one that was cut off, replaced or written to by
 * somebody else is noticed. Stores of a guest that stands still change neither. That of a device has a checksum of pages here and there,
 * so that memory is noticed which has lost what was in it: ordinary memory that is set aside does when the power fails.
 *
 * NOTE: all of it is synchronous. It is a few bytes, and the guest stands still; another thread would only add its own time.
 */
export class GenerationMark {
  readonly #id: string;
  /** Where it is. */
  readonly path: string;
  /** The RAM's file, and what was seen of it before it was opened. */
  readonly #file: string | undefined;
  readonly #inode: bigint | undefined;
  readonly #seen: string | undefined;
  /** The memory of a device. */
  readonly #memory: Uint8Array | undefined;

  private constructor(id: string, path: string, ram: { readonly file: string } | { readonly memory: Uint8Array }) {
    this.#id = id;
    this.path = path;
    this.#file = "file" in ram ? ram.file : undefined;
    this.#memory = "memory" in ram ? ram.memory : undefined;
    this.#inode = this.#stat()?.ino;
    this.#seen = this.#lookAtFile();
  }

  /**
   * The mark of a memory object; undefined if it is neither a file nor a character device with a name, or not there yet.
   *
   * @param device - the object once it is open and mapped; a device has no mark before.
   */
  static of({ id, "mem-path": path }: MemoryObjectOptions, device?: MappedDevice): GenerationMark | undefined {
    const found = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
    if (path === undefined || found === undefined) {
      return undefined;
    }
    if (found.isCharacterDevice()) {
      // NOTE: what stands beside a device is gone after a reboot, its RAM may not be, and its name may be another one.
      return device?.identity === undefined
        ? undefined
        : new GenerationMark(id, inStateFolder(device.identity), device);
    }
    if (!found.isFile()) {
      return undefined;
    }
    // NOTE: nothing can be written to files on hugetlbfs, they can only be mapped.
    const beside = hostFileSystem(path).kind !== "hugetlbfs";
    return new GenerationMark(id, beside ? `${path}.cpr` : inStateFolder(realpathSync(path)), { file: path });
  }

  /** Whether the mark is found again after the host's kernel was replaced. */
  survivesReboot(): boolean {
    let folder = dirname(this.path);
    // It is made when it is needed, on the file system of what is there of it.
    while (!existsSync(folder)) {
      folder = dirname(folder);
    }
    return hostFileSystem(folder).survivesReboot;
  }

  /** The generations of the checkpoints to which the RAM belongs as it is; none if there is no mark, or what is there is none. */
  read(): readonly string[] {
    let text: string;
    try {
      text = readFileSync(this.path, "latin1");
    } catch {
      return [];
    }
    const whole = /^(?:cpr generation [0-9a-f]{32}\n)+(cpr (?:file|memory) .*\n)?$/.exec(text);
    // NOTE: to make room for all of a file, or its pages present, changes the time; so what was seen before that counts as well.
    const same = whole?.[1] === undefined || [this.#seen, this.#look()].includes(whole[1]);
    return whole !== null && same ? [...text.matchAll(/[0-9a-f]{32}/g)].map(([generation]) => generation) : [];
  }

  /** @throws {CprError} ERR_CPR_BINDING_WRITE, ERR_CPR_RAM_FILE_LOST */
  write(generations: readonly string[]): void {
    if (generations.length === 0) {
      this.remove();
      return;
    }
    if (this.#file !== undefined && this.#stat()?.ino !== this.#inode) {
      // What is left in a file that has no name any more is gone with the process.
      throw migrationErrors.ERR_CPR_RAM_FILE_LOST({ id: this.#id, path: this.#file });
    }
    try {
      mkdirSync(dirname(this.path), { recursive: true });
      const text = generations.map((generation) => `cpr generation ${generation}\n`).join("");
      replaceFile(this.path, `${text}${this.#look() ?? ""}`);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /**
   * Removes the mark, durably: a host that crashes must not come back with RAM that has changed and a mark that says it has not.
   * When it returns, RAM may change.
   *
   * @throws {CprError} ERR_CPR_BINDING_WRITE
   */
  remove(): void {
    try {
      removeFile(this.path);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #stat(): BigIntStats | undefined {
    return this.#file === undefined ? undefined : statSync(this.#file, { bigint: true, throwIfNoEntry: false });
  }

  /** What the mark says of the RAM itself. */
  #look(): string | undefined {
    return this.#memory === undefined
      ? this.#lookAtFile()
      : `cpr memory samples=${checksumOfSamples(this.#memory).toString(16).padStart(8, "0")}\n`;
  }

  #lookAtFile(): string | undefined {
    const found = this.#stat();
    return found === undefined ? undefined : `cpr file size=${found.size} written=${found.mtimeNs}\n`;
  }

  #failure(cause: unknown): Error {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return migrationErrors.ERR_CPR_BINDING_WRITE({ id: this.#id, path: this.path, reason }, { cause });
  }
}

function inStateFolder(name: string): string {
  return join(stateFolder(), `${encodeURIComponent(name)}.cpr`);
}
