import type { Backend } from "../backend.ts";
import { machineErrors } from "../errors/machine-errors.ts";
import { memoryErrors } from "../errors/memory-errors.ts";
import { migrationErrors } from "../errors/migration-errors.ts";
import { isCprError } from "../errors.ts";
import { GuestMemory, layOutRam, type RamAlignment, type RamAllocation, type RamRegion } from "../guest-memory.ts";
import type { Kernel } from "../kernel.ts";
import type { RamReclaim } from "../machine-thread/machine-control.ts";
import {
  type MemoryBacking,
  type MemoryObjectOptions,
  MemoryProvider,
  type OpenMemoryOptions,
} from "../memory-provider.ts";
import { GenerationMark } from "../migration/generation.ts";
import type { RamCopyThreads } from "../ram-copy/ram-copy-threads.ts";
import { isStreamName, pageSize } from "../stream/format.ts";

/** A memory object that is guest RAM, open and mapped. The migration stream calls it a RAM block. */
export interface RamBlock {
  readonly id: string;
  readonly backing: MemoryBacking;
  /** Its bytes, in place. */
  readonly bytes: Uint8Array;
  /** Guest-physical address of its first byte. */
  readonly guestAddress: number;
  /** Where its checkpoint's generation is kept; undefined if it has no name under which it is found again. */
  readonly mark: GenerationMark | undefined;
  /** The host has given memory for all of it at the start. */
  readonly preallocated: boolean;
}

/** All RAM of a VM. */
export class GuestRam {
  readonly allocation: RamAllocation;
  readonly regions: readonly RamRegion[];
  readonly blocks: readonly RamBlock[];

  readonly #kernel: Kernel;
  readonly #backend: string;

  readonly #handedOver: { readonly block: RamBlock; readonly generation: string }[] = [];

  private constructor(
    kernel: Kernel,
    backend: string,
    allocation: RamAllocation,
    regions: readonly RamRegion[],
    blocks: readonly RamBlock[],
  ) {
    this.#kernel = kernel;
    this.#backend = backend;
    this.allocation = allocation;
    this.regions = regions;
    this.blocks = blocks;
  }

  get size(): number {
    return this.allocation.bytes.length;
  }

  /**
   * Opens and locks memory objects, the latter later if the VM waits for a checkpoint and another one has them, reserves address space, and maps the objects into it, end to end. On failure all
   * of them are closed.
   *
   * @throws {CprError} the provider's error, or one of the machine's.
   */
  static async open(
    kernel: Kernel,
    backend: Backend,
    objects: readonly MemoryObjectOptions[],
    options: OpenMemoryOptions = {},
  ): Promise<GuestRam> {
    const total = checkObjects(objects);
    if (total > backend.supports.maximumRam) {
      throw machineErrors.ERR_CPR_RAM_TOO_LARGE({
        backend: backend.name,
        size: total,
        maximum: backend.supports.maximumRam,
      });
    }
    const providers = await Promise.all(objects.map((options) => findProvider(kernel, options)));
    // Those of files, before they are opened and mapped, which may make all pages present.
    const marks = objects.map((object) => GenerationMark.of(object));
    const opened: MemoryBacking[] = [];
    try {
      for (const [index, object] of objects.entries()) {
        opened.push(await (providers[index] as MemoryProvider).open(object, options));
      }
      checkDistinct(opened);
      const allocation = backend.allocateRam(total, strictest(opened));
      const regions = layOutRam(total);
      const blocks: RamBlock[] = [];
      let offset = 0;
      for (const [index, backing] of opened.entries()) {
        const options = objects[index] as MemoryObjectOptions;
        const bytes = allocation.bytes.subarray(offset, offset + backing.size);
        backing.mapInto(bytes);
        const keeps = backing.supports.shared && backing.supports.survivesProcessExit;
        const mark = keeps
          ? (marks[index] ?? GenerationMark.of(options, { identity: backing.identity, memory: bytes }))
          : undefined;
        if (backing.created) {
          // A mark beside a file that was made just now belongs to one that has been removed.
          mark?.remove();
        }
        const preallocated = options.prealloc === true;
        blocks.push({ id: options.id, backing, bytes, guestAddress: addressOf(regions, offset), mark, preallocated });
        offset += backing.size;
      }
      return new GuestRam(kernel, backend.name, allocation, regions, blocks);
    } catch (error) {
      await discard(opened);
      throw error;
    }
  }

  /** See {@link MemoryBacking.pageFunctions}. */
  get pageFunctions(): string | undefined {
    return this.blocks.find(({ backing }) => backing.pageFunctions !== undefined)?.backing.pageFunctions;
  }

  /** The parts whose pages can be given back to the host, and how. */
  get reclaim(): readonly RamReclaim[] {
    return this.blocks.flatMap(({ backing: { reclaim }, bytes }) =>
      reclaim === undefined
        ? []
        : [{ ...reclaim, offset: bytes.byteOffset - this.allocation.bytes.byteOffset, size: bytes.length }],
    );
  }

  /** The same without any block in it: what is done with it has no effect. */
  empty(): GuestRam {
    return new GuestRam(this.#kernel, this.#backend, this.allocation, [], []);
  }

  /** All RAM as devices see it. */
  memory(): GuestMemory {
    return new GuestMemory(this.allocation.bytes, this.regions);
  }

  /** Begins threads that copy pages of this RAM; see {@link RamCopyThreads.begin}. */
  async beginCopyThreads(count: number): Promise<RamCopyThreads> {
    // Most migrations leave RAM in place.
    const { RamCopyThreads } = await import("../ram-copy/ram-copy-threads.ts");
    const { bytes, handle } = this.allocation;
    const { plugins } = this.#kernel;
    const ram = bytes.buffer instanceof SharedArrayBuffer ? bytes : { plugins, backend: this.#backend, handle };
    return RamCopyThreads.begin({ ram, pageFunctions: this.pageFunctions, count });
  }

  /** Gives blocks up to the VM that has received the checkpoint of that generation, which they are bound to. */
  handOver(blocks: readonly RamBlock[], generation: string): void {
    for (const block of blocks) {
      block.backing.ownership?.release();
      this.#handedOver.push({ block, generation });
    }
  }

  /**
   * Takes back what was handed over.
   *
   * @throws {CprError} ERR_CPR_MEMORY_BUSY if another VM has it, ERR_CPR_RAM_MOVED_ON if one has used it.
   */
  async takeBack(): Promise<void> {
    for (const { block, generation } of this.#handedOver) {
      const { id, backing, mark } = block;
      if (backing.ownership?.acquire() === false) {
        throw memoryErrors.ERR_CPR_MEMORY_BUSY({ path: backing.location });
      }
      if ((await mark?.read())?.includes(generation) !== true) {
        backing.ownership?.release();
        throw migrationErrors.ERR_CPR_RAM_MOVED_ON({ id, location: backing.location });
      }
    }
    this.#handedOver.length = 0;
  }

  /** Removes the marks of all blocks: what is about to change does not belong to a checkpoint any more. */
  unbind(): void {
    for (const { mark } of this.blocks) {
      mark?.remove();
    }
  }

  /** Releases the locks. */
  async close(): Promise<void> {
    await Promise.all(this.blocks.map(({ backing }) => backing.close()));
  }

  /** The same where no guest has run: what was made for it does not stay behind. */
  async discard(): Promise<void> {
    await discard(this.blocks.map(({ backing }) => backing));
  }
}

async function discard(backings: readonly MemoryBacking[]): Promise<void> {
  await Promise.allSettled(
    backings.map(async (backing) => {
      try {
        backing.discard?.();
      } finally {
        await backing.close();
      }
    }),
  );
}

function checkObjects(objects: readonly MemoryObjectOptions[]): number {
  let total = 0;
  const ids = new Set<string>();
  for (const { id, size } of objects) {
    if (!isStreamName(id)) {
      throw machineErrors.ERR_CPR_MEMORY_ID({ id });
    }
    if (ids.has(id)) {
      throw machineErrors.ERR_CPR_MEMORY_DUPLICATE({ id });
    }
    if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    ids.add(id);
    total += size;
  }
  if (total === 0) {
    throw machineErrors.ERR_CPR_NO_MEMORY({});
  }
  return total;
}

/** The provider that serves an object. One that cannot be loaded only matters if no other one serves it. */
async function findProvider(kernel: Kernel, options: MemoryObjectOptions): Promise<MemoryProvider> {
  const known = new Set<string>();
  let failure: unknown;
  for (const name of kernel.keys(MemoryProvider)) {
    let provider: MemoryProvider;
    try {
      provider = await kernel.get(MemoryProvider, name);
    } catch (error) {
      failure = error;
      continue;
    }
    for (const type of provider.objectTypes) {
      known.add(type);
    }
    if (provider.objectTypes.includes(options.type) && (await provider.accepts(options))) {
      return provider;
    }
  }
  if (isCprError(failure)) {
    throw failure;
  }
  throw machineErrors.ERR_CPR_MEMORY_TYPE({ id: options.id, type: options.type, known: [...known] });
}

/** The alignment that suits all of them, if they demand one. */
function strictest(backings: readonly MemoryBacking[]): RamAlignment | undefined {
  return backings
    .flatMap(({ alignment }) => alignment ?? [])
    .reduce<RamAlignment | undefined>(
      (most, each) => (most !== undefined && most.multiple >= each.multiple ? most : each),
      undefined,
    );
}

function checkDistinct(backings: readonly MemoryBacking[]): void {
  const seen = new Map<string, MemoryBacking>();
  for (const backing of backings) {
    const { identity } = backing;
    const other = identity === undefined ? undefined : seen.get(identity);
    if (other !== undefined) {
      throw machineErrors.ERR_CPR_MEMORY_SAME_OBJECT({
        first: other.id,
        second: backing.id,
        location: backing.location,
      });
    }
    if (identity !== undefined) {
      seen.set(identity, backing);
    }
  }
}

function addressOf(regions: readonly RamRegion[], offset: number): number {
  const region = regions.find((each) => offset >= each.offset && offset < each.offset + each.size);
  return region === undefined ? 0 : region.guestAddress + offset - region.offset;
}
