import { closeSync, fsync } from "node:fs";
import { promisify } from "node:util";
import {
  type MemoryBacking,
  type MemoryOwnership,
  type MemorySupports,
  memoryErrors,
  type RamAlignment,
} from "@cpr/core";
import { dataRangesOf, tryLock } from "./descriptor.ts";
import { addressOf, flushCache, mapOver, populate } from "./memory-map.ts";
import { pageFunctionsUrl, reclaimUrl } from "./module-urls.ts";
import { reasonOf } from "./reason.ts";
import { touchedRangesOf } from "./touched-ranges.ts";

/** What a {@link MappedMemory} is made from. */
export interface MappedMemoryOptions {
  readonly id: string;
  readonly size: number;
  readonly supports: MemorySupports;
  /** For people: a path, or what it is if it has no name. */
  readonly location: string;
  readonly identity: string | undefined;
  /** See {@link MemoryBacking.created}. */
  readonly created: boolean;
  /** It is open and of the right size; it belongs to the {@link MappedMemory} from now on. */
  readonly descriptor: number;
  /** Others can open the object too: whether this opening has the exclusive lock. */
  readonly locked?: boolean;
  /** `private`: the guest's stores copy pages and do not reach the object. */
  readonly visibility: "shared" | "private";
  /** Map with MAP_SYNC. */
  readonly synchronous?: boolean;
  /** Make every page present when it is mapped. */
  readonly prealloc?: boolean;
  /** The address must be a multiple of this: a huge page, a device's alignment, or what the user asked for. */
  readonly alignment?: number;
  /** How contents become durable, step by step: `cache` writes the processors' caches back to memory, `file` what the kernel has of a file. */
  readonly durability: readonly ("cache" | "file")[];
  /** See {@link MemoryBacking.discard}; the descriptor is open when it is called. */
  readonly discard?: (() => void) | undefined;
  /** The kernel knows which parts have never been written to; it does by default. */
  readonly sparse?: boolean;
}

/** RAM that is an open file, memfd or device. The memory providers differ in how they come by the descriptor. */
export class MappedMemory implements MemoryBacking {
  readonly id: string;
  readonly size: number;
  readonly supports: MemorySupports;
  readonly location: string;
  readonly identity: string | undefined;
  readonly created: boolean;
  readonly ownership?: MemoryOwnership;
  readonly discard: MemoryBacking["discard"];
  readonly pageFunctions = pageFunctionsUrl;
  readonly reclaim: MemoryBacking["reclaim"];
  readonly alignment: RamAlignment | undefined;
  readonly #options: MappedMemoryOptions;
  #descriptor: number | undefined;
  #target: Uint8Array | undefined;

  constructor(options: MappedMemoryOptions) {
    this.id = options.id;
    this.size = options.size;
    this.supports = options.supports;
    this.location = options.location;
    this.identity = options.identity;
    this.created = options.created;
    const { alignment = 1 } = options;
    this.alignment = alignment > 1 ? { multiple: alignment, addressOf } : undefined;
    this.#options = options;
    this.#descriptor = options.descriptor;
    this.discard = options.discard;
    // A device keeps all of its memory, used or not.
    this.reclaim =
      options.sparse === false ? undefined : { module: reclaimUrl, shared: options.visibility === "shared" };
    if (options.locked !== undefined) {
      this.ownership = this.#ownership(options.locked);
    }
  }

  /**
   * @throws {TypeError} if the target has another size or the backing is closed.
   * @throws {CprError} ERR_CPR_MEMORY_MAP, ERR_CPR_MEMORY_PREALLOC
   */
  mapInto(target: Uint8Array): void {
    const descriptor = this.#open();
    if (target.length !== this.size) {
      throw new TypeError(`the target has ${target.length} bytes, the object ${this.size}`);
    }
    const { location, visibility, synchronous = false, alignment = 1 } = this.#options;
    if (addressOf(target) % BigInt(alignment) !== 0n) {
      throw memoryErrors.ERR_CPR_MEMORY_MAP({
        location,
        reason: `the RAM begins at 0x${addressOf(target).toString(16)}, not at a multiple of 0x${alignment.toString(16)}`,
        remedy: `Give the objects before it sizes that are multiples of 0x${alignment.toString(16)}, or put it first.`,
      });
    }
    try {
      mapOver(target, { descriptor, visibility, synchronous });
    } catch (cause) {
      throw this.#refusal(cause);
    }
    this.#target = target;
    if (this.#options.prealloc === true) {
      try {
        populate(target);
      } catch (cause) {
        throw memoryErrors.ERR_CPR_MEMORY_PREALLOC({ location, reason: reasonOf(cause) }, { cause });
      }
    }
  }

  /** @throws {CprError} ERR_CPR_MEMORY_FLUSH */
  async flush(): Promise<void> {
    const descriptor = this.#open();
    const { durability, visibility } = this.#options;
    if (visibility === "private") {
      return;
    }
    try {
      for (const step of durability) {
        if (step === "cache") {
          await this.#flushCaches();
        } else {
          // Writes back what was stored through mappings too: the kernel looks at the dirty bits of the page tables. The time of the
          // last store is written too, which a checkpoint is bound to.
          await promisify(fsync)(descriptor);
        }
      }
    } catch (cause) {
      throw memoryErrors.ERR_CPR_MEMORY_FLUSH({ location: this.location, reason: reasonOf(cause) }, { cause });
    }
  }

  dataRanges(): readonly (readonly [number, number])[] {
    const descriptor = this.#open();
    if (this.#options.sparse === false) {
      return [[0, this.size]];
    }
    const inFile = dataRangesOf(descriptor, this.size);
    return this.#options.visibility === "shared" || this.#target === undefined
      ? inFile
      : unionOf(inFile, touchedRangesOf(this.#target));
  }

  async close(): Promise<void> {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    if (descriptor !== undefined) {
      // NOTE: the mapping keeps the open file description, and so its lock, alive when the descriptor is closed.
      tryLock(descriptor, "none");
      closeSync(descriptor);
    }
  }

  /** Only what this process has used can be in a cache: who had the rest before has flushed it. */
  async #flushCaches(): Promise<void> {
    const target = this.#target;
    if (target !== undefined) {
      await flushCache(target, touchedRangesOf(target));
    }
  }

  #ownership(held: boolean): MemoryOwnership {
    return {
      get held() {
        return held;
      },
      acquire: () => {
        held ||= tryLock(this.#open(), "exclusive");
        return held;
      },
      release: () => {
        tryLock(this.#open(), "none");
        held = false;
      },
    };
  }

  #open(): number {
    if (this.#descriptor === undefined) {
      throw new TypeError(`memory object '${this.id}' is closed`);
    }
    return this.#descriptor;
  }

  #refusal(cause: unknown): unknown {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined) {
      return cause;
    }
    const { location, synchronous } = this.#options;
    const remedy =
      code === "ENOMEM"
        ? "Huge pages are reserved with `sysctl vm.nr_hugepages=COUNT`; other memory is limited by `ulimit -v`."
        : (code === "ENOTSUP" || code === "EOPNOTSUPP") && synchronous === true
          ? "Only a file system or device with DAX can do `pmem=on`."
          : undefined;
    return memoryErrors.ERR_CPR_MEMORY_MAP({ location, reason: reasonOf(cause), remedy }, { cause });
  }
}

/** All that is in one of two lists of ranges, each in ascending order. */
export function unionOf(
  first: readonly (readonly [number, number])[],
  second: readonly (readonly [number, number])[],
): [number, number][] {
  const result: [number, number][] = [];
  for (const [start, end] of [...first, ...second].sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1);
    if (last !== undefined && start <= last[1]) {
      last[1] = Math.max(last[1], end);
    } else {
      result.push([start, end]);
    }
  }
  return result;
}
