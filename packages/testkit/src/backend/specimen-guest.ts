import {
  type Backend,
  defaultTscFrequency,
  type Execution,
  type ExecutionEvent,
  GuestMemory,
  layOutRam,
  type ProcessorState,
  type RamAllocation,
  TimerQueue,
} from "@cpr/core";
import { eventually, within } from "../expectations.ts";
import { ManualInterrupts } from "../fakes/manual-interrupts.ts";
import { RecordingBus } from "../fakes/recording-bus.ts";
import { StoppableClock } from "../fakes/stoppable-clock.ts";
import { interruptHandler, interruptVector, origin, reportPort, secondOrigin } from "./guest-programs.ts";

/** Bytes of RAM of a specimen: the least that has all of real mode's addresses, except the last 64 KiB less 16 bytes. */
export const specimenRam = 1 << 20;
/** Where the interrupt handler is. */
const handlerAddress = 0x1100;

/** One or two vCPUs that run small programs, and all that surrounds them. */
export class SpecimenGuest {
  readonly allocation: RamAllocation;
  readonly bus: RecordingBus;
  readonly clock: StoppableClock;
  readonly timers: TimerQueue;
  /** The first vCPU's. */
  readonly interrupts = new ManualInterrupts();
  readonly events: readonly ExecutionEvent[];
  readonly execution: Execution;
  readonly processorCount: number;

  private constructor(
    parts: Pick<SpecimenGuest, "allocation" | "bus" | "clock" | "timers" | "events" | "execution" | "processorCount">,
  ) {
    this.allocation = parts.allocation;
    this.bus = parts.bus;
    this.clock = parts.clock;
    this.timers = parts.timers;
    this.events = parts.events;
    this.execution = parts.execution;
    this.processorCount = parts.processorCount;
  }

  /** Makes stopped vCPUs in their power-on state. */
  static async create(backend: Backend, { time = 0, processorCount = 1 } = {}): Promise<SpecimenGuest> {
    const allocated = backend.allocateRam(specimenRam);
    const allocation = backend.adoptRam(allocated.handle);
    const clock = new StoppableClock(time);
    const timers = new TimerQueue(clock);
    const events: ExecutionEvent[] = [];
    const bus = new RecordingBus();
    const execution = await backend.createExecution({
      memory: new GuestMemory(allocation.bytes, layOutRam(specimenRam)),
      allocation,
      bus,
      clock,
      timers,
      processorModel: backend.processorModels[0] as string,
      processorCount,
      tscFrequency: defaultTscFrequency,
      onEvent: (event) => events.push(event),
    });
    const guest = new SpecimenGuest({ allocation, bus, clock, timers, events, execution, processorCount });
    timers.onChange = () => execution.kick();
    if (backend.supports.kernelIrqchip === "off") {
      for (let processor = 0; processor < processorCount; processor++) {
        execution.attachInterrupts(processor, processor === 0 ? guest.interrupts : new ManualInterrupts());
      }
    }
    return guest;
  }

  /** Puts a program into RAM and the first vCPU in front of it, in real mode with flat segments of base 0. */
  load(program: readonly number[]): this {
    const { bytes } = this.allocation;
    bytes.set(interruptHandler, handlerAddress);
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(interruptVector * 4, handlerAddress, true);
    return this.#place(0, program, origin);
  }

  /** As {@link load} for the second vCPU, which is runnable then. */
  loadSecond(program: readonly number[]): this {
    return this.#place(1, program, secondOrigin);
  }

  #place(processor: number, program: readonly number[], address: number): this {
    this.allocation.bytes.set(program, address);
    const state = this.execution.saveProcessor(processor);
    for (const segment of state.segments) {
      segment.selector = 0;
      segment.base = 0n;
    }
    this.execution.restoreProcessor(processor, { ...state, rip: BigInt(address), activity: 0 });
    return this;
  }

  start(): void {
    this.clock.start();
    this.execution.start();
  }

  async pause(): Promise<void> {
    await within(this.execution.pause(), "the end of pause()");
    this.clock.stop();
  }

  /** What the program has written to the report port. */
  get reports(): readonly number[] {
    return this.bus.accesses.flatMap(({ space, kind, address, value }) =>
      space === "ports" && kind === "write" && address === reportPort ? [value] : [],
    );
  }

  /** Lets the program run until it has reported that many values. */
  async runUntilReports(count: number): Promise<readonly number[]> {
    this.start();
    await eventually(() => this.reports.length >= count, `report number ${count}`);
    await this.pause();
    return this.reports;
  }

  /** Other vCPUs with a copy of the RAM and the states, as a new process would have. */
  async moved(backend: Backend): Promise<SpecimenGuest> {
    const { processorCount } = this;
    const copy = await SpecimenGuest.create(backend, { time: this.clock.now(), processorCount });
    copy.allocation.bytes.set(this.allocation.bytes);
    for (let processor = 0; processor < processorCount; processor++) {
      const state: ProcessorState = structuredClone(this.execution.saveProcessor(processor));
      copy.execution.restoreProcessor(processor, state);
    }
    return copy;
  }

  async close(): Promise<void> {
    await this.pause();
    await this.execution.close();
  }
}
