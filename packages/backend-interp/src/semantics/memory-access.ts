import type { RamAddress } from "../imports.ts";
import {
  modifyOffsetSlot,
  slowAddressSlot,
  slowValueSlot,
  tlbBaseAt,
  tlbEntries,
  tlbEntrySize,
  tlbField,
} from "../layout.ts";
import {
  type Address,
  call,
  choose,
  drop,
  type Expression,
  evaluate,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type Local,
  leave,
  type Memory,
  type ModuleBuilder,
  type Statement,
  v128,
  when,
} from "../wasm/index.ts";
import { raiseFault, storeCurrentOperation } from "./faults.ts";
import { constant, type Operand, type Width } from "./operand.ts";
import type { Runtime } from "./scope.ts";

const pageMask = -4096n;
const pageBits = 12;

/** The imports for accesses that the TLB does not answer; see imports.ts. */
export interface SlowImports {
  readonly load: FunctionReference<readonly ["i32"], "none">;
  readonly store: FunctionReference<readonly ["i32"], "none">;
  readonly modify: FunctionReference<readonly ["i32"], "none">;
  readonly storeBack: FunctionReference<readonly ["i32"], "none">;
}

/** Where the access happens, and temporaries for it. */
export interface AccessScope {
  /** The address of the operation, for faults. */
  readonly operation: I32;
  readonly address: Local<"i64">;
  readonly entry: Local<"i32">;
}

/**
 * Accesses to guest memory at linear addresses: the TLB inline, everything else by functions that call TypeScript. One
 * comparison tells whether an access hits and stays in its page: the tag of the first byte's entry is compared with the
 * page of the last byte. (The entry of one page cannot hold the next one: they differ in the bits that choose entries.)
 */
export class MemoryAccess {
  readonly #core: Memory<"i32">;
  readonly #ram: Memory<RamAddress>;
  readonly #runtime: Runtime;
  readonly #slowLoad: FunctionReference<readonly ["i64", "i32", "i32"], "i64">;
  readonly #slowStore: FunctionReference<readonly ["i64", "i64", "i32", "i32"], "none">;
  readonly #slowStoreVector: FunctionReference<readonly ["i64", "v128", "i32"], "none">;
  readonly #slowModify: FunctionReference<readonly ["i64", "i32", "i32"], "i64">;
  readonly #slowStoreBack: FunctionReference<readonly ["i64", "i32", "i32"], "none">;

  constructor(module: ModuleBuilder, runtime: Runtime, ram: Memory<RamAddress>, slow: SlowImports) {
    const { core } = runtime;
    const zero = i32.const(0);
    const storeAddress = (address: I64) => i64.store(core, zero, address, slowAddressSlot);
    const storeValue = (value: I64) => i64.store(core, zero, value, slowValueSlot);
    const loadValue = leave(i64.load(core, zero, slowValueSlot));
    this.#core = core;
    this.#ram = ram;
    this.#runtime = runtime;
    this.#slowLoad = module.defineFunction("slowLoad", ["i64", "i32", "i32"], "i64", (_f, address, operation, size) => [
      storeCurrentOperation(core, operation),
      storeAddress(address),
      call(slow.load, size),
      loadValue,
    ]);
    this.#slowStore = module.defineFunction(
      "slowStore",
      ["i64", "i64", "i32", "i32"],
      "none",
      (_f, address, value, operation, size) => [
        storeCurrentOperation(core, operation),
        storeAddress(address),
        storeValue(value),
        call(slow.store, size),
      ],
    );
    this.#slowStoreVector = module.defineFunction(
      "slowStoreVector",
      ["i64", "v128", "i32"],
      "none",
      (_f, address, value, operation) => [
        storeCurrentOperation(core, operation),
        storeAddress(address),
        v128.store(core, zero, value, slowValueSlot),
        call(slow.store, i32.const(16)),
      ],
    );
    this.#slowModify = module.defineFunction(
      "slowModify",
      ["i64", "i32", "i32"],
      "i64",
      (_f, address, operation, size) => [
        storeCurrentOperation(core, operation),
        storeAddress(address),
        call(slow.modify, size),
        loadValue,
      ],
    );
    this.#slowStoreBack = module.defineFunction(
      "slowStoreBack",
      ["i64", "i32", "i32"],
      "none",
      (_f, value, operation, size) => [
        storeCurrentOperation(core, operation),
        storeValue(value),
        call(slow.storeBack, size),
      ],
    );
  }

  /** Looks the address up: sets both temporaries. */
  #lookUp(address: I64, scope: AccessScope): Statement[] {
    const indexMask = (tlbEntries - 1) * tlbEntrySize;
    const index = i64.shrU(scope.address, constant(pageBits - Math.log2(tlbEntrySize)));
    return [
      scope.address.set(address),
      scope.entry.set(
        i32.add(i32.and(i32.wrap(index), i32.const(indexMask)), i32.load(this.#core, i32.const(0), tlbBaseAt)),
      ),
    ];
  }

  /** Whether the entry allows the access, to all of its bytes. */
  #hits(scope: AccessScope, size: number, tag: "tagRead" | "tagWrite"): I32 {
    const last = size === 1 ? scope.address : i64.add(scope.address, constant(size - 1));
    return i64.eq(i64.and(last, i64.const(pageMask)), i64.load(this.#core, scope.entry, tlbField[tag]));
  }

  #ramOffset(scope: AccessScope): I64 {
    return i64.add(scope.address, i64.load(this.#core, scope.entry, tlbField.addend));
  }

  /** A RAM offset as this RAM is addressed. */
  #ramAddress(offset: I64): Address<RamAddress> {
    return this.#ram.address === "i64" ? offset : i32.wrap(offset);
  }

  #loadRam(width: Width, offset: I64): I64 {
    const load = { 8: i64.load8u, 16: i64.load16u, 32: i64.load32u, 64: i64.load }[width];
    return load(this.#ram, this.#ramAddress(offset));
  }

  #storeRam(width: Width, offset: I64, value: I64): Statement {
    const store = { 8: i64.store8, 16: i64.store16, 32: i64.store32, 64: i64.store }[width];
    return store(this.#ram, this.#ramAddress(offset), value);
  }

  /** The value at an address, zero-extended; after the statements. */
  load(width: Width, address: I64, scope: AccessScope): { before: Statement[]; value: I64 } {
    const size = width / 8;
    return {
      before: this.#lookUp(address, scope),
      value: choose(
        this.#hits(scope, size, "tagRead"),
        this.#loadRam(width, this.#ramOffset(scope)),
        call(this.#slowLoad, scope.address, scope.operation, i32.const(size)),
      ),
    };
  }

  /** `value` is evaluated after the address. */
  store(width: Width, address: I64, value: I64, scope: AccessScope): Statement[] {
    const size = width / 8;
    return [
      ...this.#lookUp(address, scope),
      when(
        this.#hits(scope, size, "tagWrite"),
        [this.#storeRam(width, this.#ramOffset(scope), value)],
        [call(this.#slowStore, scope.address, value, scope.operation, i32.const(size))],
      ),
    ];
  }

  /** #GP(0) if the address is not a multiple of 16. */
  #checkAligned(scope: AccessScope): Statement {
    const misaligned = i32.and(i32.wrap(scope.address), i32.const(15));
    return when(misaligned, raiseFault({ ...this.#runtime, operation: scope.operation }, 13, 0));
  }

  /** Loads 16 bytes into a slot in the core memory. */
  loadVector(slot: I32, address: I64, aligned: boolean, scope: AccessScope): Statement[] {
    const loaded: Expression<"v128"> = choose(
      this.#hits(scope, 16, "tagRead"),
      v128.load(this.#ram, this.#ramAddress(this.#ramOffset(scope))),
      evaluate(
        // Both halves are beside each other in the core memory; the call's result is only the lower one.
        [drop(call(this.#slowLoad, scope.address, scope.operation, i32.const(16)))],
        v128.load(this.#core, i32.const(0), slowValueSlot),
      ),
    );
    return [
      ...this.#lookUp(address, scope),
      ...(aligned ? [this.#checkAligned(scope)] : []),
      v128.store(this.#core, slot, loaded),
    ];
  }

  /** Stores the 16 bytes of a slot in the core memory. */
  storeVector(slot: I32, address: I64, aligned: boolean, scope: AccessScope): Statement[] {
    const value = v128.load(this.#core, slot);
    return [
      ...this.#lookUp(address, scope),
      ...(aligned ? [this.#checkAligned(scope)] : []),
      when(
        this.#hits(scope, 16, "tagWrite"),
        [v128.store(this.#ram, this.#ramAddress(this.#ramOffset(scope)), value)],
        [call(this.#slowStoreVector, scope.address, value, scope.operation)],
      ),
    ];
  }

  /** Loads into an operand, checked for writing, and remembers where {@link storeBack} will write. */
  loadModify(width: Width, address: I64, destination: Operand, scope: AccessScope): Statement[] {
    const size = width / 8;
    // NOTE: the temporary for the address takes the RAM offset once the entry is known to be right.
    const found = evaluate(
      [scope.address.set(this.#ramOffset(scope)), i64.store(this.#core, i32.const(0), scope.address, modifyOffsetSlot)],
      this.#loadRam(width, scope.address),
    );
    return [
      ...this.#lookUp(address, scope),
      destination.write(
        width,
        choose(
          this.#hits(scope, size, "tagWrite"),
          found,
          call(this.#slowModify, scope.address, scope.operation, i32.const(size)),
        ),
      ),
    ];
  }

  storeBack(width: Width, source: Operand, scope: AccessScope): Statement[] {
    return [
      scope.address.set(i64.load(this.#core, i32.const(0), modifyOffsetSlot)),
      when(
        i64.geS(scope.address, constant(0)),
        [this.#storeRam(width, scope.address, source.read(width))],
        [call(this.#slowStoreBack, source.read(width), scope.operation, i32.const(width / 8))],
      ),
    ];
  }
}
