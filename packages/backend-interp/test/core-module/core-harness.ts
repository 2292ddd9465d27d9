/// <reference lib="dom" />
import { buildCoreModule } from "../../src/core-module.ts";
import type { CoreExports, CoreFunctions, RamAddress } from "../../src/imports.ts";
import {
  arenaAt,
  blockField,
  blockHeaderSize,
  budgetAt,
  coreMemorySize,
  currentOperationAt,
  eflagsAt,
  flagsKind,
  flagsKindAt,
  flagsLeftAt,
  flagsResultAt,
  flagsRightAt,
  jumpCacheEntryAt,
  jumpKeyAt,
  registersAt,
  ripSlot,
  slowAddressSlot,
  slowValueHighSlot,
  slowValueSlot,
  temporariesAt,
  tlbAt,
  tlbBaseAt,
  tlbEntries,
  tlbEntrySize,
  tlbField,
  zeroSlot,
} from "../../src/layout.ts";
import {
  field,
  helperResult,
  type OperationName,
  operationFlag,
  operationKind,
  operationSize,
} from "../../src/operations.ts";

/** An operation as a test writes it; slots that are left out are the zero slot. */
export interface TestOperation {
  readonly name: OperationName;
  readonly destination?: number;
  /** A slot, or a constant that goes into the immediate field. */
  readonly source?: number | bigint;
  readonly base?: number;
  readonly index?: number;
  readonly scale?: number;
  readonly auxiliary?: number;
  readonly displacement?: number;
  readonly segment?: number;
  readonly immediate?: bigint;
  /** Bits beside `first`. */
  readonly flags?: number;
  /** Offset of its instruction from the block's start; undefined: it belongs to the instruction before. */
  readonly offset?: number;
}

/** Slot of a register by its number, and of a temporary. */
export const register = (number: number) => registersAt + number * 8;
export const temporary = (number: number) => temporariesAt + number * 8;

/** What the fake imports throw for a fault of the guest. */
export class TestFault extends Error {
  readonly vector: number;
  readonly errorCode: number;
  constructor(vector: number, errorCode: number) {
    super(`fault ${vector}`);
    this.vector = vector;
    this.errorCode = errorCode;
  }
}

/** One slow access as the imports saw it. */
export interface SlowAccess {
  readonly kind: "load" | "store" | "modify" | "store-back";
  readonly size: number;
  readonly address: bigint;
  readonly value: bigint;
  readonly operation: number;
}

const modules = new Map<RamAddress, WebAssembly.Module>();

function compiled(ramAddress: RamAddress): WebAssembly.Module {
  const known = modules.get(ramAddress);
  if (known !== undefined) return known;
  const module = new WebAssembly.Module(buildCoreModule({ ramAddress }));
  modules.set(ramAddress, module);
  return module;
}

/** The core with imports that a test controls: blocks by RIP, slow accesses on a flat memory of their own. */
export class CoreHarness {
  readonly core = new WebAssembly.Memory({ initial: coreMemorySize / 0x1_0000, maximum: coreMemorySize / 0x1_0000 });
  readonly ram: WebAssembly.Memory;
  readonly view: DataView<ArrayBuffer>;
  readonly ramView: DataView;
  readonly exports: CoreExports;
  /** Blocks that `resolve` finds. */
  readonly blocks = new Map<bigint, number>();
  readonly resolved: { rip: bigint; linkAt: number }[] = [];
  readonly slow: SlowAccess[] = [];
  readonly segmentChecks: { segment: number; size: number; write: number; offset: bigint }[] = [];
  /** Bytes that slow accesses find, by linear address; absent ones are zero. */
  readonly slowBytes = new Map<bigint, number>();
  /** What `slowModify` answers. */
  modifyOffset = -1n;
  /** Linear addresses at which slow accesses fault. */
  readonly faulting = new Set<bigint>();
  helper: (number: number, operation: number) => number = () => helperResult.leave;
  /** Whether `resolve` enters the block in the jump cache and links it. */
  caching = true;
  #arena = arenaAt;

  constructor(ramAddress: RamAddress = "i32", ramPages = 16) {
    const pages = ramAddress === "i64" ? BigInt(ramPages) : ramPages;
    const descriptor = { address: ramAddress, initial: pages, maximum: pages, shared: true };
    this.ram = new WebAssembly.Memory(descriptor as unknown as WebAssembly.MemoryDescriptor);
    this.view = new DataView(this.core.buffer as ArrayBuffer);
    this.ramView = new DataView(this.ram.buffer);
    const imports: CoreFunctions = {
      resolve: (linkAt) => this.#resolve(linkAt),
      helper: (number, operation) => this.helper(number, operation),
      slowLoad: (size) => this.#load("load", size),
      slowModify: (size) => {
        this.#load("modify", size);
        this.set(0xe0, this.modifyOffset);
      },
      slowStore: (size) => this.#store("store", size),
      slowStoreBack: (size) => this.#store("store-back", size),
      raise: (vector, errorCode) => {
        throw new TestFault(vector, errorCode);
      },
      checkSegment: (segment, size, write) => {
        const offset = this.get(slowAddressSlot);
        this.segmentChecks.push({ segment, size, write, offset });
        if (this.faulting.has(offset)) throw new TestFault(13, 0);
      },
    };
    const instance = new WebAssembly.Instance(compiled(ramAddress), {
      env: { ...imports, core: this.core, ram: this.ram },
    });
    this.exports = instance.exports as unknown as CoreExports;
    this.view.setUint32(tlbBaseAt, tlbAt, true);
    this.view.setUint32(jumpKeyAt, 1, true);
    this.exports.flushTlb();
  }

  get(slot: number): bigint {
    return this.view.getBigUint64(slot, true);
  }

  set(slot: number, value: bigint): void {
    this.view.setBigUint64(slot, BigInt.asUintN(64, value), true);
  }

  get budget(): number {
    return this.view.getInt32(budgetAt, true);
  }

  set budget(instructions: number) {
    this.view.setInt32(budgetAt, instructions, true);
  }

  /** RFLAGS, with lazy flags computed. */
  get flags(): number {
    return this.exports.readFlags();
  }

  /** Sets RFLAGS, all of them explicit. */
  set flags(value: number) {
    this.view.setUint32(flagsKindAt, flagsKind.explicit, true);
    this.view.setUint32(eflagsAt, value, true);
  }

  /** Sets the lazy flags as an operation on sign-extended operands leaves them. */
  setLazyFlags(kind: keyof typeof flagsKind, result: bigint, left: bigint, right: bigint, stored: number): void {
    this.view.setUint32(flagsKindAt, flagsKind[kind], true);
    this.view.setUint32(eflagsAt, stored, true);
    this.set(flagsResultAt, result);
    this.set(flagsLeftAt, left);
    this.set(flagsRightAt, right);
  }

  /** Enters a page in the TLB's supervisor half. */
  mapPage(linear: bigint, ramOffset: bigint, access: { write: boolean }): void {
    const page = linear & ~0xfffn;
    const entry = tlbAt + Number((page >> 12n) & BigInt(tlbEntries - 1)) * tlbEntrySize;
    this.set(entry + tlbField.tagRead, page);
    this.set(entry + tlbField.tagWrite, access.write ? page : 1n);
    this.set(entry + tlbField.addend, ramOffset - page);
  }

  /** Writes a block for a RIP; returns its address. */
  block(rip: bigint, operations: readonly TestOperation[], length = 16): number {
    const block = this.#arena;
    let at = block + blockHeaderSize;
    let offset = 0;
    let instructions = 0;
    for (const operation of operations) {
      const first = operation.offset !== undefined || at === block + blockHeaderSize;
      offset = operation.offset ?? offset;
      const flags = (operation.flags ?? 0) | (first ? operationFlag.first : 0);
      instructions += (first ? 1 : 0) + (flags >> operationFlag.skippedShift);
      const constant = typeof operation.source === "bigint";
      this.view.setUint16(at + field.kind, operationKind(operation.name), true);
      this.view.setUint16(at + field.instructionOffset, offset, true);
      this.view.setUint32(at + field.destination, operation.destination ?? zeroSlot, true);
      this.view.setUint32(
        at + field.source,
        constant ? at + field.immediate : Number(operation.source ?? zeroSlot),
        true,
      );
      this.view.setUint32(at + field.base, operation.base ?? zeroSlot, true);
      this.view.setUint32(at + field.index, operation.index ?? zeroSlot, true);
      this.view.setUint8(at + field.scale, operation.scale ?? 0);
      this.view.setUint8(at + field.flags, flags);
      this.view.setUint16(at + field.auxiliary, operation.auxiliary ?? 0, true);
      this.view.setInt32(at + field.displacement, operation.displacement ?? 0, true);
      this.view.setUint32(at + field.segment, operation.segment ?? zeroSlot, true);
      const immediate = constant ? BigInt(operation.source as bigint) : (operation.immediate ?? 0n);
      this.view.setBigUint64(at + field.immediate, BigInt.asUintN(64, immediate), true);
      at += operationSize;
    }
    this.view.setUint32(block + blockField.instructions, instructions, true);
    this.view.setUint32(block + blockField.length, length, true);
    this.view.setUint32(block + blockField.operations, operations.length, true);
    this.#arena = (at + 15) & ~15;
    this.blocks.set(rip, block);
    return block;
  }

  /** Forgets the blocks, so that a test of many steps does not fill the arena. */
  forgetBlocks(): void {
    this.#arena = arenaAt;
    this.blocks.clear();
  }

  /** Executes operations as one block, left by a helper that says "leave". */
  execute(...operations: readonly TestOperation[]): void {
    this.forgetBlocks();
    const rip = 0x1000n;
    const block = this.block(rip, [...operations, { name: "helper", offset: 15 }]);
    this.set(ripSlot, rip);
    this.budget = 1000;
    this.exports.run(block);
  }

  /** As {@link execute}; the fault that it ends in. */
  faultOf(...operations: readonly TestOperation[]): TestFault {
    try {
      this.execute(...operations);
    } catch (error) {
      if (error instanceof TestFault) return error;
      throw error;
    }
    throw new Error("The operations did not fault.");
  }

  /** Runs from a RIP on. */
  run(rip: bigint, budget = 1000): number {
    this.set(ripSlot, rip);
    this.budget = budget;
    return this.exports.run(0);
  }

  #resolve(linkAt: number): number {
    const rip = this.get(ripSlot);
    this.resolved.push({ rip, linkAt });
    const block = this.blocks.get(rip);
    if (block === undefined) throw new TestFault(14, 16);
    if (this.caching) {
      const entry = jumpCacheEntryAt(Number(BigInt.asUintN(32, rip)));
      this.set(entry, rip);
      this.view.setUint32(entry + 8, this.view.getUint32(jumpKeyAt, true), true);
      this.view.setUint32(entry + 12, block, true);
      if (linkAt !== 0) this.view.setUint32(linkAt, block, true);
    }
    return block;
  }

  #record(kind: SlowAccess["kind"], size: number): bigint {
    const address = this.get(slowAddressSlot);
    const value = this.get(slowValueSlot);
    this.slow.push({ kind, size, address, value, operation: this.view.getUint32(currentOperationAt, true) });
    if (this.faulting.has(address)) throw new TestFault(14, kind === "load" ? 0 : 2);
    return address;
  }

  #load(kind: "load" | "modify", size: number): void {
    const address = this.#record(kind, size);
    let value = 0n;
    for (let byte = 0; byte < size; byte++) {
      value |= BigInt(this.slowBytes.get(address + BigInt(byte)) ?? 0) << BigInt(8 * byte);
    }
    this.set(slowValueSlot, value);
    this.set(slowValueHighSlot, value >> 64n);
  }

  #store(kind: "store" | "store-back", size: number): void {
    const address = this.#record(kind, size);
    let value = this.get(slowValueSlot) | (this.get(slowValueHighSlot) << 64n);
    for (let byte = 0; byte < size; byte++) {
      this.slowBytes.set(address + BigInt(byte), Number(value & 0xffn));
      value >>= 8n;
    }
  }
}
