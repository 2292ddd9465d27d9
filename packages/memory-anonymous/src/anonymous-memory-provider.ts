import {
  type MemoryBacking,
  type MemoryObjectOptions,
  type MemoryProvider,
  type MemorySupports,
  machineErrors,
} from "@cpr/core";
import { pageFunctionsUrl, reclaimUrl, touchedRangesOf } from "@cpr/native-mman";

const pageSize = 4096;

const supports: MemorySupports = { shared: false, survivesProcessExit: false, survivesReboot: false };

/**
 * RAM that belongs to the process alone: `memory-backend-ram`, unless it has `share=on`. The execution backend's own
 * memory is used as it is, so no native code is needed.
 */
export class AnonymousMemoryProvider implements MemoryProvider {
  readonly name = "anonymous";
  readonly objectTypes = ["memory-backend-ram"];
  readonly supports = supports;

  async accepts({ type, share }: MemoryObjectOptions): Promise<boolean> {
    return type === "memory-backend-ram" && share !== true;
  }

  /** @throws {CprError} ERR_CPR_MEMORY_SIZE */
  async open({ id, size, prealloc }: MemoryObjectOptions): Promise<MemoryBacking> {
    if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    return new AnonymousMemory(id, size, prealloc === true);
  }
}

class AnonymousMemory implements MemoryBacking {
  readonly id: string;
  readonly size: number;
  readonly supports = supports;
  readonly location = "anonymous";
  readonly identity = undefined;
  readonly created = true;
  readonly pageFunctions = pageFunctionsUrl;
  readonly reclaim = { module: reclaimUrl, shared: false };
  readonly #prealloc: boolean;
  #target: Uint8Array | undefined;
  #closed = false;

  constructor(id: string, size: number, prealloc: boolean) {
    this.id = id;
    this.size = size;
    this.#prealloc = prealloc;
  }

  /** @throws {TypeError} if the target has another size, or this is the second one: its bytes could not be the same. */
  mapInto(target: Uint8Array): void {
    this.#checkOpen();
    if (target.length !== this.size) {
      throw new TypeError(`the target has ${target.length} bytes, the object ${this.size}`);
    }
    if (this.#target !== undefined) {
      throw new TypeError(`memory object '${this.id}' is anonymous and mapped already`);
    }
    this.#target = target;
    if (this.#prealloc) {
      for (let at = 0; at < target.length; at += pageSize) {
        // A store, even of the same value, is what makes the kernel find a page for it.
        target[at] = 0;
      }
    }
  }

  async flush(): Promise<void> {
    this.#checkOpen();
  }

  /** What was never touched is left out where the kernel tells; without the native addon or `/proc`, it is everything. */
  dataRanges(): readonly (readonly [number, number])[] {
    this.#checkOpen();
    if (this.#target === undefined) {
      return [];
    }
    try {
      return touchedRangesOf(this.#target);
    } catch {
      return [[0, this.size]];
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #checkOpen(): void {
    if (this.#closed) {
      throw new TypeError(`memory object '${this.id}' is closed`);
    }
  }
}
