import { CprError, type MemoryBacking, type MemoryObjectOptions, type MemoryProvider, machineErrors } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { memoryProviderCases, memoryProviderCompliance } from "../src/memory-provider.ts";
import { failingCases } from "./failing-cases.ts";

/** Contents that outlive their backing, by id. */
type Store = Map<string, { bytes: Uint8Array; locked: boolean }>;

/**
 * RAM that is kept in this process when it is closed: one target at a time, since an array cannot be mapped twice, so
 * its objects say that they are private, or, where a case needs it, falsely that they are shared.
 */
class KeptProvider implements MemoryProvider {
  readonly name: string = "kept";
  readonly objectTypes: readonly string[] = ["memory-backend-ram"];
  readonly supports = { shared: false, survivesProcessExit: false, survivesReboot: false };

  async accepts({ type }: MemoryObjectOptions): Promise<boolean> {
    return type === "memory-backend-ram";
  }

  async open(options: MemoryObjectOptions): Promise<MemoryBacking> {
    const { id, size } = options;
    if (!Number.isSafeInteger(size) || size <= 0 || size % 4096 !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    return new KeptMemory(options, this.supports);
  }
}

class KeptMemory implements MemoryBacking {
  readonly id: string;
  readonly size: number;
  readonly supports: MemoryBacking["supports"];
  readonly location: string = "kept";
  readonly identity: string | undefined = undefined;
  readonly created: boolean = true;
  readonly pageFunctions?: string;
  protected open = true;

  constructor({ id, size }: MemoryObjectOptions, supports: MemoryBacking["supports"]) {
    this.id = id;
    this.size = size;
    this.supports = supports;
  }

  mapInto(target: Uint8Array): void {
    if (!this.open || target.length !== this.size) {
      throw new TypeError("closed, or another size");
    }
  }

  async flush(): Promise<void> {}

  dataRanges(): readonly (readonly [number, number])[] {
    return [[0, this.size]];
  }

  async close(): Promise<void> {
    this.open = false;
  }
}

const fixture = (create: () => MemoryProvider) => ({
  name: "kept",
  size: 65_536,
  create,
  place: async () => ({ options: { type: "memory-backend-ram", id: "ram0" }, close: async () => undefined }),
});

await memoryProviderCompliance(fixture(() => new KeptProvider()));

/** A provider whose objects are of that class. */
function withMemory(Broken: new (options: MemoryObjectOptions, supports: MemoryBacking["supports"]) => KeptMemory) {
  return class extends KeptProvider {
    override async open(options: MemoryObjectOptions) {
      await super.open(options);
      return new Broken(options, this.supports);
    }
  };
}

const broken: Record<string, { readonly provider: new () => MemoryProvider; readonly noticedBy: string[] }> = {
  "accepts everything": {
    provider: class extends KeptProvider {
      override async accepts() {
        return true;
      }
    },
    noticedBy: ["accepts its objects and no others, again and again"],
  },
  "lists other types than it serves": {
    provider: class extends KeptProvider {
      override readonly objectTypes = ["memory-backend-epc"];
    },
    noticedBy: ["accepts its objects and no others, again and again"],
  },
  "takes any size": {
    provider: class extends KeptProvider {
      override async open(options: MemoryObjectOptions) {
        return new KeptMemory(options, this.supports);
      }
    },
    noticedBy: ["refuses sizes that are not whole pages, and makes nothing"],
  },
  "opens objects that support more than it says": {
    provider: class extends KeptProvider {
      override async open(options: MemoryObjectOptions) {
        await super.open(options);
        return new KeptMemory(options, { ...this.supports, survivesReboot: true });
      }
    },
    noticedBy: ["opens objects that support no more than it says"],
  },
  "gives what was in the process's memory": {
    provider: withMemory(
      class extends KeptMemory {
        override mapInto(target: Uint8Array) {
          super.mapInto(target);
          target[77] = 1;
        }
      },
    ),
    noticedBy: [
      "gives zeros at first, and touches nothing beside the target",
      "preallocates without changing contents",
      "gives zeros again to who opens it again",
    ],
  },
  "gives more back than it is told to": {
    provider: withMemory(
      class extends KeptMemory {
        readonly reclaim = {
          module: `data:text/javascript,export const reclaim = (pages) =>
            new Uint8Array(pages.buffer, pages.byteOffset, pages.length + 1).fill(0);`,
          shared: true,
        };
      },
    ),
    noticedBy: ["gives pages back, if it says how: they are zero or as they were, and all others as they were"],
  },
  "names functions on pages that count zero pages too": {
    provider: withMemory(
      class extends KeptMemory {
        override readonly pageFunctions = `data:text/javascript,
          import { crc32 } from "node:zlib";
          export { crc32 };
          export function checksumPages(bytes, bitmap, before) {
            for (let page = 0; page * 4096 < bytes.length; page++) {
              if ((bitmap[page >> 3] & (1 << (page & 7))) !== 0) {
                before = crc32(bytes.slice(page * 4096, (page + 1) * 4096), crc32(Buffer.of(page), before));
              }
            }
            return before;
          }`;
      },
    ),
    noticedBy: ["names functions on pages, if it does, that give what a CRC-32 of the same bytes gives"],
  },
  "writes beyond its target": {
    provider: withMemory(
      class extends KeptMemory {
        override mapInto(target: Uint8Array) {
          super.mapInto(target);
          new Uint8Array(target.buffer)[target.byteOffset + target.length] = 1;
        }
      },
    ),
    noticedBy: ["gives zeros at first, and touches nothing beside the target"],
  },
  "maps into a target of any size": {
    provider: withMemory(
      class extends KeptMemory {
        override mapInto() {
          if (!this.open) throw new TypeError("closed");
        }
      },
    ),
    noticedBy: ["refuses a target of another size"],
  },
  "can be mapped after it was closed": {
    provider: withMemory(
      class extends KeptMemory {
        override async close() {}
      },
    ),
    noticedBy: ["leaves the mapping when it is closed, and can be closed twice"],
  },
  "leaves out the last page": {
    provider: withMemory(
      class extends KeptMemory {
        override dataRanges() {
          return [[0, this.size - 4096]] as const;
        }
      },
    ),
    noticedBy: ["leaves nothing out of its data ranges that was stored"],
  },
  "gives its data ranges in any order": {
    provider: withMemory(
      class extends KeptMemory {
        override dataRanges() {
          return [
            [4096, this.size],
            [0, 4096],
          ] as const;
        }
      },
    ),
    noticedBy: ["leaves nothing out of its data ranges that was stored"],
  },
  "has another id": {
    provider: withMemory(
      class extends KeptMemory {
        override readonly id = "other";
      },
    ),
    noticedBy: ["gives an object with the id and size that were asked for, and tells where it is"],
  },
};

/** Says that it shares and survives, and copies instead: what it tells at an opening is what was there at the close. */
class CopyingProvider extends KeptProvider {
  override readonly supports = { shared: true, survivesProcessExit: true, survivesReboot: false };
  readonly store: Store;
  protected readonly locks: boolean = true;

  constructor(store: Store) {
    super();
    this.store = store;
  }

  override async open(options: MemoryObjectOptions): Promise<MemoryBacking> {
    await super.open(options);
    const { store } = this;
    const created = !store.has(options.id);
    const kept = store.get(options.id) ?? { bytes: new Uint8Array(options.size), locked: false };
    if (this.locks && kept.locked) {
      throw new CprError("ERR_CPR_MEMORY_BUSY", "busy", `${options.id} is in use`, { details: { path: options.id } });
    }
    if (kept.bytes.length !== options.size) {
      throw new CprError("ERR_CPR_TEST_SIZE", "input", "another size");
    }
    store.set(options.id, kept);
    kept.locked = true;
    let mapped: Uint8Array | undefined;
    return new (class extends KeptMemory {
      override readonly identity = `kept:${options.id}`;
      override readonly created = created;

      override mapInto(target: Uint8Array) {
        super.mapInto(target);
        target.set(kept.bytes);
        mapped = target;
      }

      override async close() {
        await super.close();
        kept.bytes = mapped?.slice() ?? kept.bytes;
        kept.locked = false;
      }
    })(options, this.supports);
  }
}

describe("the suite of memory providers", () => {
  test.each(Object.entries(broken))("notices a provider that %s", async (_label, { provider: Broken, noticedBy }) => {
    expect(await failingCases(await memoryProviderCases(fixture(() => new Broken())))).toEqual(noticedBy);
  });

  const stored = (Broken: new (store: Store) => CopyingProvider) => {
    const store: Store = new Map();
    let count = 0;
    return {
      name: "stored",
      size: 65_536,
      create: () => new Broken(store),
      place: async () => ({
        options: { type: "memory-backend-ram", id: `ram${count++}` },
        close: async () => undefined,
      }),
    };
  };

  test("notices a provider that copies where it should map", async () => {
    expect(await failingCases(await memoryProviderCases(stored(CopyingProvider)))).toEqual([
      "shows the same bytes wherever it is mapped, at once",
    ]);
  });

  test("notices a provider without a lock", async () => {
    class Unlocked extends CopyingProvider {
      protected override readonly locks = false;
    }
    expect(await failingCases(await memoryProviderCases(stored(Unlocked)))).toContain(
      "refuses a second opening while the first lasts, and does no damage",
    );
  });

  test("notices a provider that starts anew when the size differs", async () => {
    class Forgetful extends CopyingProvider {
      override async open(options: MemoryObjectOptions) {
        const kept = this.store.get(options.id);
        if (kept !== undefined && !kept.locked && kept.bytes.length !== options.size) {
          this.store.delete(options.id);
        }
        return super.open(options);
      }
    }
    expect(await failingCases(await memoryProviderCases(stored(Forgetful)))).toContain(
      "refuses another size than the object has, and leaves the object as it is",
    );
  });

  test("notices a provider that takes what it finds for new", async () => {
    class Boastful extends CopyingProvider {
      override async open(options: MemoryObjectOptions) {
        return Object.assign(await super.open(options), { created: true });
      }
    }
    expect(await failingCases(await memoryProviderCases(stored(Boastful)))).toEqual([
      "shows the same bytes wherever it is mapped, at once",
      "gives what was stored to who opens it again",
    ]);
  });

  test("notices a provider that forgets what it says it keeps", async () => {
    class Amnesiac extends CopyingProvider {
      override async open(options: MemoryObjectOptions) {
        if (this.store.get(options.id)?.locked === false) {
          this.store.delete(options.id);
        }
        return super.open(options);
      }
    }
    expect(await failingCases(await memoryProviderCases(stored(Amnesiac)))).toContain(
      "gives what was stored to who opens it again",
    );
  });
});
