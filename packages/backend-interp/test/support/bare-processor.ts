import { coreMemorySize, cr0At, cr4At, eflagsAt, flagsKindAt, modeAt, xcr0At } from "../../src/layout.ts";
import type { CodeCache, GuestFault, LinearMemory, Mode, ProcessorCore } from "../../src/processor-interface.ts";

/** A processor with registers and a little flat memory, but nothing that fetches or translates: for tests of helpers. */
export class BareProcessor implements ProcessorCore {
  readonly memory = new Uint8Array(0x1_0000);
  readonly core: ProcessorCore["core"];
  readonly ram: ProcessorCore["ram"];
  readonly linear: LinearMemory;
  readonly fault: GuestFault = { guestFault: true, vector: 0, errorCode: undefined };
  mode: Mode = {
    number: 0,
    long: true,
    size: 4,
    stackSize: 8,
    flat: true,
    protectedMode: true,
    user: false,
    vectorsAllowed: "yes",
  };

  constructor(memory?: WebAssembly.Memory) {
    const pages = coreMemorySize / 0x1_0000;
    this.core = views(memory ?? new WebAssembly.Memory({ initial: pages, maximum: pages }));
    const ram = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    this.ram = {
      memory: ram,
      u8: new Uint8Array(ram.buffer),
      u32: new Uint32Array(ram.buffer),
      view: new DataView(ram.buffer),
      size: 0x1_0000,
      start: 0,
    };
    const view = new DataView(this.memory.buffer);
    this.linear = {
      read: (address, size) => {
        const at = this.#check(address, size);
        if (size === 8) return view.getBigUint64(at, true);
        return BigInt(
          size === 4 ? view.getUint32(at, true) : size === 2 ? view.getUint16(at, true) : view.getUint8(at),
        );
      },
      write: (address, size, value) => {
        const at = this.#check(address, size);
        for (let n = 0; n < size; n++) this.memory[at + n] = Number((value >> BigInt(8 * n)) & 0xffn);
      },
      probeWrite: (address, size) => {
        this.#check(address, size);
      },
      readBytes: (address, length) => {
        const at = this.#check(address, length);
        return this.memory.slice(at, at + length);
      },
      writeBytes: (address, bytes) => {
        this.memory.set(bytes, this.#check(address, bytes.length));
      },
      readSystem: (address, size) => this.linear.read(address, size),
      writeSystem: (address, size, value) => this.linear.write(address, size, value),
      translateFetch: () => -1,
      protectCode: () => {},
    };
    this.core.u64[cr0At >> 3] = 0x80000033n;
    this.core.u64[cr4At >> 3] = 0x40600n;
    this.core.u64[xcr0At >> 3] = 3n;
  }

  get code(): CodeCache {
    throw new Error("a bare processor has no code");
  }

  #check(address: bigint, size: number): number {
    if (address < 0n || address + BigInt(size) > BigInt(this.memory.length)) this.raise(14, 0);
    return Number(address);
  }

  raise(vector: number, errorCode?: number): never {
    this.fault.vector = vector;
    this.fault.errorCode = errorCode;
    throw this.fault;
  }

  readFlags(): number {
    return this.core.u32[eflagsAt >> 2] as number;
  }

  writeFlags(flags: number): void {
    this.core.u32[eflagsAt >> 2] = flags;
    this.core.u32[flagsKindAt >> 2] = 0;
  }

  instructionPointer(): bigint {
    return 0x400000n;
  }

  nextInstructionPointer(): bigint {
    return 0x400004n;
  }

  setModeNumber(number: number): void {
    this.core.u32[modeAt >> 2] = number;
  }
}

function views(memory: WebAssembly.Memory): ProcessorCore["core"] {
  const { buffer } = memory;
  return {
    memory,
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    u64: new BigUint64Array(buffer),
    view: new DataView(buffer),
  };
}
