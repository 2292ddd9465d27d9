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
import { interruptHandler, interruptVector, origin, reportPort } from "./guest-programs.ts";

/** Bytes of RAM of a specimen: the least that has all of real mode's addresses, except the last 64 KiB less 16 bytes. */
export const specimenRam = 1 << 20;
/** Where the interrupt handler is. */
const handlerAddress = 0x1100;

/** A vCPU that runs a small program, and all that surrounds it. */
export class SpecimenGuest {
  readonly allocation: RamAllocation;
  readonly bus: RecordingBus;
  readonly clock: StoppableClock;
  readonly timers: TimerQueue;
  readonly interrupts = new ManualInterrupts();
  readonly events: readonly ExecutionEvent[];
  readonly execution: Execution;

  private constructor(parts: Pick<SpecimenGuest, "allocation" | "bus" | "clock" | "timers" | "events" | "execution">) {
    this.allocation = parts.allocation;
    this.bus = parts.bus;
    this.clock = parts.clock;
    this.timers = parts.timers;
    this.events = parts.events;
    this.execution = parts.execution;
  }

  /** Makes a stopped vCPU in its power-on state. */
  static async create(backend: Backend, time = 0): Promise<SpecimenGuest> {
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
      processorCount: 1,
      tscFrequency: defaultTscFrequency,
      onEvent: (event) => events.push(event),
    });
    const guest = new SpecimenGuest({ allocation, bus, clock, timers, events, execution });
    timers.onChange = () => execution.kick();
    if (backend.supports.kernelIrqchip === "off") {
      execution.attachInterrupts(0, guest.interrupts);
    }
    return guest;
  }

  /** Puts a program into RAM and the vCPU in front of it, in real mode with flat segments of base 0. */
  load(program: readonly number[]): this {
    const { bytes } = this.allocation;
    bytes.set(program, origin);
    bytes.set(interruptHandler, handlerAddress);
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(interruptVector * 4, handlerAddress, true);
    const state = this.execution.saveProcessor(0);
    for (const segment of state.segments) {
      segment.selector = 0;
      segment.base = 0n;
    }
    this.execution.restoreProcessor(0, { ...state, rip: BigInt(origin) });
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

  /** Another vCPU with a copy of the RAM and the state, as a new process would have. */
  async moved(backend: Backend): Promise<SpecimenGuest> {
    const state: ProcessorState = structuredClone(this.execution.saveProcessor(0));
    const copy = await SpecimenGuest.create(backend, this.clock.now());
    copy.allocation.bytes.set(this.allocation.bytes);
    copy.execution.restoreProcessor(0, state);
    return copy;
  }

  async close(): Promise<void> {
    await this.pause();
    await this.execution.close();
  }
}
