import {
  type Backend,
  type BackendAvailability,
  type BackendSupports,
  CprError,
  type Execution,
  type ExecutionContext,
  type ProcessorInterrupts,
  type ProcessorState,
  processorState,
  type RamAlignment,
  type RamAllocation,
} from "@cpr/core";

const instructionsPerSlice = 20_000;

/** Real mode without segment limits and flags other than zero and interrupt: what the suite's programs need. */
export class ToyBackend implements Backend {
  readonly name = "toy";
  readonly supports: BackendSupports = {
    kernelIrqchip: "off",
    maximumProcessors: 2,
    maximumRam: 1 << 24,
    dirtyLog: false,
  };
  readonly preference = 0;
  readonly processorModels = ["toy"];

  async probe(): Promise<BackendAvailability> {
    return { available: true, note: "a few instructions" };
  }

  allocateRam(size: number, alignment?: RamAlignment): RamAllocation {
    if (size > this.supports.maximumRam) {
      throw new CprError("ERR_CPR_TOY_RAM", "input", `${size} bytes are too many`);
    }
    const { multiple, addressOf } = alignment ?? { multiple: 1, addressOf: () => 0n };
    const pages = Math.ceil((size + multiple - 1) / 65_536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const start = Number(-addressOf(new Uint8Array(memory.buffer)) & BigInt(multiple - 1));
    return this.adoptRam({ memory, start, size });
  }

  adoptRam(handle: unknown): RamAllocation {
    const { memory, start, size } = handle as { memory: WebAssembly.Memory; start: number; size: number };
    return { bytes: new Uint8Array(memory.buffer, start, size), handle };
  }

  async createExecution(context: ExecutionContext): Promise<Execution> {
    return new ToyExecution(context);
  }
}

function powerOnState(processor: number): ProcessorState {
  const fields = processorState.fields;
  const state = Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, field.decode(new DataView(new ArrayBuffer(field.size)), 0)]),
  ) as ProcessorState;
  const segments = state.segments.map((segment, index) => ({
    ...segment,
    ...(index === 1 ? { selector: 0xf000, base: 0xffff_0000n } : {}),
    limit: 0xffff,
  }));
  return {
    ...state,
    segments,
    rip: 0xfff0n,
    rflags: 2n,
    cr0: 0x6000_0010n,
    xcr0: 1n,
    activity: processor === 0 ? 0 : 1,
  };
}

const word = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const;

/** vCPUs whose registers are the neutral state itself. They execute an instruction each, in turn. */
export class ToyExecution implements Execution {
  protected readonly context: ExecutionContext;
  /** Index of the vCPU that executes, or whose state is asked for. */
  protected current = 0;
  readonly #states: ProcessorState[];
  readonly #interrupts: (ProcessorInterrupts | undefined)[] = [];
  protected running = false;
  #scheduled: NodeJS.Immediate | NodeJS.Timeout | undefined;
  readonly #view: DataView;

  constructor(context: ExecutionContext) {
    this.context = context;
    this.#states = Array.from({ length: context.processorCount }, (_, processor) => this.powerOn(processor));
    const { bytes } = context.allocation;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The state of the current vCPU. */
  protected get state(): ProcessorState {
    return this.#states[this.current] as ProcessorState;
  }
  protected set state(state: ProcessorState) {
    this.#states[this.current] = state;
  }

  protected powerOn(processor: number): ProcessorState {
    return powerOnState(processor);
  }

  currentProcessor(): number {
    return this.current;
  }

  attachInterrupts(processor: number, interrupts: ProcessorInterrupts): void {
    this.#interrupts[processor] = interrupts;
    interrupts.onChange = () => this.kick();
  }

  start(): void {
    this.running = true;
    this.kick();
  }

  async pause(): Promise<void> {
    this.running = false;
  }

  kick(): void {
    clearTimeout(this.#scheduled as NodeJS.Timeout | undefined);
    clearImmediate(this.#scheduled as NodeJS.Immediate | undefined);
    this.#scheduled = setImmediate(() => this.#slice());
  }

  saveProcessor(processor: number): ProcessorState {
    this.current = processor;
    return structuredClone(this.state);
  }

  checkProcessor(_processor: number, state: ProcessorState): void {
    this.check(state);
  }

  restoreProcessor(processor: number, state: ProcessorState): void {
    this.current = processor;
    this.check(state);
    this.apply(state);
  }

  protected check(state: ProcessorState): void {
    const paging = (state.cr0 & 0x8000_0001n) === 0x8000_0000n;
    if (paging || state.efer >> 16n !== 0n || (state.xcr0 & 1n) === 0n || state.cr8 > 15n || state.activity > 3) {
      throw new CprError("ERR_CPR_TOY_STATE", "checkpoint", "the state of the vCPU is impossible");
    }
  }

  protected apply(state: ProcessorState): void {
    this.state = structuredClone(state);
  }

  resetProcessor(processor: number): void {
    this.current = processor;
    this.state = this.powerOn(processor);
  }

  async close(): Promise<void> {
    this.running = false;
  }

  #slice(): void {
    if (!this.running) {
      return;
    }
    this.runTimers();
    this.#states.forEach((_, processor) => {
      this.current = processor;
      this.#deliverInterrupt();
    });
    for (let count = 0; count < instructionsPerSlice && this.#runnable; count++) {
      this.executeOneEach();
    }
    if (this.running) {
      this.#scheduled = this.#runnable ? setImmediate(() => this.#slice()) : setTimeout(() => this.#slice(), 1);
    }
  }

  get #runnable(): boolean {
    return this.running && this.#states.some(({ activity }) => activity === 0);
  }

  protected executeOneEach(): void {
    for (let processor = 0; processor < this.#states.length; processor++) {
      this.current = processor;
      if (this.running && this.state.activity === 0) this.step();
    }
  }

  protected runTimers(): void {
    this.context.timers.runDue();
  }

  protected interruptsEnabled(): boolean {
    return (this.state.rflags & 0x200n) !== 0n;
  }

  #deliverInterrupt(): void {
    const interrupts = this.#interrupts[this.current];
    if (interrupts?.pending() !== true || !this.interruptsEnabled()) {
      return;
    }
    const vector = interrupts.acknowledge();
    this.#push(Number(this.state.rflags & 0xffffn));
    this.#push(0);
    this.#push(Number(this.state.rip));
    this.state.rip = BigInt(this.#view.getUint16(vector * 4, true));
    this.state.rflags &= ~0x200n;
    this.state.activity = 0;
  }

  #get(index: number): number {
    return Number((this.state.registers[index] as bigint) & 0xffff_ffffn);
  }

  #set(index: number, size: 1 | 2 | 4, value: number): void {
    const mask = word[size];
    this.state.registers[index] = BigInt(((this.#get(index) & ~mask) | (value & mask)) >>> 0);
  }

  #push(value: number): void {
    this.#set(4, 2, this.#get(4) - 2);
    this.#view.setUint16(this.#get(4) & 0xffff, value, true);
  }

  #pop(): number {
    const value = this.#view.getUint16(this.#get(4) & 0xffff, true);
    this.#set(4, 2, this.#get(4) + 2);
    return value;
  }

  #zero(value: number): void {
    this.state.rflags = (this.state.rflags & ~0x40n) | (value === 0 ? 0x40n : 0n);
  }

  protected step(): void {
    let at = Number(this.state.rip);
    const bytes = this.#view;
    const fetch8 = () => bytes.getUint8(at++);
    const fetch16 = () => {
      at += 2;
      return bytes.getUint16(at - 2, true);
    };
    const fetch32 = () => {
      at += 4;
      return bytes.getUint32(at - 4, true);
    };
    const dataSegment = Number(this.state.segments[3]?.base ?? 0n);
    const { ports, mmio } = this.context.bus;
    let opcode = fetch8();
    const wide = opcode === 0x66;
    if (wide) opcode = fetch8();
    const size = wide ? 4 : 2;
    switch (opcode) {
      case 0x01: {
        fetch8();
        this.#set(0, 4, this.#get(0) + this.#get(1));
        break;
      }
      case 0x0c:
        this.#set(0, 1, this.#get(0) | fetch8());
        break;
      case 0x0f: {
        const second = fetch8();
        at += second === 0x01 ? 3 : 1;
        if (second === 0x20) this.#set(0, 4, Number(this.state.cr0));
        if (second === 0x22) this.state.cr0 = BigInt(this.#get(0));
        break;
      }
      case 0x3c:
        this.#zero((this.#get(0) & 0xff) - fetch8());
        break;
      case 0x49:
        this.#set(1, 4, this.#get(1) - 1);
        this.#zero(this.#get(1));
        break;
      case 0x50:
        this.#push(this.#get(0) & 0xffff);
        break;
      case 0x58:
        this.#set(0, 2, this.#pop());
        break;
      case 0x69:
        fetch8();
        this.#set(0, 4, Math.imul(this.#get(0), fetch32()));
        break;
      case 0x75: {
        const displacement = (fetch8() << 24) >> 24;
        if ((this.state.rflags & 0x40n) === 0n) at += displacement;
        break;
      }
      case 0x8e: {
        if ((this.state.cr0 & 1n) !== 0n) {
          // Protected mode: there are no descriptors, and no handlers either.
          this.running = false;
          this.context.onEvent({ kind: "triple-fault", processor: this.current, report: "triple fault" });
          return;
        }
        const segment = this.state.segments[fetch8() === 0xd8 ? 3 : 2] as ProcessorState["segments"][number];
        segment.selector = this.#get(0) & 0xffff;
        segment.base = BigInt(segment.selector * 16);
        break;
      }
      case 0xa0: {
        const address = dataSegment + fetch16();
        this.#set(0, 1, address < bytes.byteLength ? bytes.getUint8(address) : mmio.read(address, 1));
        break;
      }
      case 0xb0:
        this.#set(0, 1, fetch8());
        break;
      case 0xb8:
      case 0xb9:
      case 0xba:
      case 0xbc:
        this.#set(opcode & 7, size, wide ? fetch32() : fetch16());
        break;
      case 0xc6: {
        fetch8();
        const address = dataSegment + fetch16();
        const value = fetch8();
        if (address < bytes.byteLength) bytes.setUint8(address, value);
        else mmio.write(address, 1, value);
        break;
      }
      case 0xc7:
        fetch8();
        bytes.setUint16(fetch16(), fetch16(), true);
        break;
      case 0xcf:
        at = this.#pop();
        this.#pop();
        this.state.rflags = BigInt(this.#pop());
        break;
      case 0xe6:
        this.writePort(fetch8(), 1, this.#get(0) & 0xff);
        break;
      case 0xeb: {
        const displacement = (fetch8() << 24) >> 24;
        at += displacement;
        break;
      }
      case 0xec:
        this.#set(0, 1, ports.read(this.#get(2) & 0xffff, 1));
        break;
      case 0xed:
        this.#set(0, size, ports.read(this.#get(2) & 0xffff, size));
        break;
      case 0xee:
        this.writePort(this.#get(2) & 0xffff, 1, this.#get(0) & 0xff);
        break;
      case 0xef:
        this.writePort(this.#get(2) & 0xffff, size, (this.#get(0) & word[size]) >>> 0);
        break;
      case 0xf3:
        fetch8();
        break;
      case 0xf4:
        this.state.activity = 3;
        break;
      case 0xfa:
        this.state.rflags &= ~0x200n;
        break;
      case 0xfb:
        this.state.rflags |= 0x200n;
        break;
      case 0xfe:
        fetch8();
        this.#set(0, 1, this.#get(0) + 1);
        break;
      case 0xff: {
        fetch8();
        const address = fetch16();
        bytes.setUint32(address, bytes.getUint32(address, true) + 1, true);
        break;
      }
      default:
        throw new Error(`the toy does not know opcode 0x${opcode.toString(16)}`);
    }
    this.state.rip = BigInt(at);
  }

  protected writePort(port: number, size: 1 | 2 | 4, value: number): void {
    this.context.bus.ports.write(port, size, value);
  }
}
