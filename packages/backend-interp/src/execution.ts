import {
  describeProcessor,
  type Execution,
  type ExecutionContext,
  type ProcessorInterrupts,
  type ProcessorState,
  serializeError,
} from "@cpr/core";
import { InstructionRate } from "./instruction-rate.ts";
import { activity, type Processor, type RunOutcome } from "./system/processor.ts";
import { checkProcessor, restoreProcessor, saveProcessor } from "./system/processor-checkpoint.ts";
import { Turns } from "./turns.ts";

/** Milliseconds that the guest executes before the machine thread looks at its messages; each vCPU gets its turn in them. */
const turn = 1;
/** Milliseconds below which a deadline is waited for exactly. */
const exactWait = 1;
/** Milliseconds for which the thread is deaf at first while it waits exactly, and twice as long each time that it has listened. */
const firstDeafness = 0.02;

/**
 * Executes the vCPUs by turns on the machine thread. Each millisecond the thread's other work (RPC messages, output) gets its
 * chance; in between, timers run whenever one is due, which ends a slice of execution.
 *
 * A vCPU's turn ends when its time is over (see {@link Turns}), when it halts, with PAUSE, by which a program says that it
 * waits for another vCPU, and when an interrupt wakes another one. It ends at an instruction boundary in any case, so that
 * other vCPUs see an instruction's accesses to memory all or not at all: LOCK has nothing to do.
 *
 * A halted guest costs nothing: the thread sleeps until the next timer's deadline or until {@link kick}. The event loop's timers
 * have a granularity of a millisecond, so the last part of a wait is spent in `Atomics.wait` on a cell that nobody writes
 * to. It blocks the thread, hence kicks too (they come from this thread's own messages, and from requests to disks that are done), so
 * the thread listens in between: what comes is late by no more than the time that it took to come.
 */
export class InterpreterExecution implements Execution {
  readonly #processors: readonly Processor[];
  readonly #turns: Turns<Processor>;
  readonly #rates: readonly InstructionRate[];
  readonly #context: ExecutionContext;
  #deafness = firstDeafness;
  readonly #sleepCell = new Int32Array(new SharedArrayBuffer(4));
  #running = false;
  /** We are called from within {@link #execute}. */
  #executing = false;
  #immediate: NodeJS.Immediate | undefined;
  #timeout: NodeJS.Timeout | undefined;
  #paused: (() => void)[] = [];

  /** `processors` are in the order of their indices. */
  constructor(context: ExecutionContext, processors: readonly Processor[]) {
    this.#context = context;
    this.#processors = processors;
    this.#turns = new Turns(processors, turn * 1e6);
    this.#rates = processors.map(() => new InstructionRate());
    if (processors.length > 1) {
      for (const processor of processors) processor.onPause = () => this.#endTurn();
    }
  }

  attachInterrupts(index: number, interrupts: ProcessorInterrupts): void {
    const processor = this.#at(index);
    processor.attachInterrupts(interrupts, () => {
      // One that executes looks for itself, and so does one whose turn will come.
      if (!this.#executing) this.kick();
      else if (processor.activity !== activity.running) this.#endTurn();
    });
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    // RAM may have been written meanwhile, for which nobody asked the code cache.
    for (const { code } of this.#processors) code.flush();
    this.#schedule();
  }

  pause(): Promise<void> {
    this.#running = false;
    this.#unschedule();
    if (!this.#executing) return Promise.resolve();
    this.#turns.current.requestStop();
    return new Promise((resolve) => {
      this.#paused.push(resolve);
    });
  }

  kick(): void {
    if (this.#executing) {
      this.#turns.current.requestStop();
    } else if (this.#running && this.#immediate === undefined) {
      this.#schedule();
    }
  }

  saveProcessor(index: number): ProcessorState {
    return saveProcessor(this.#at(index));
  }

  checkProcessor(index: number, state: ProcessorState): void {
    checkProcessor(this.#at(index), state);
  }

  restoreProcessor(index: number, state: ProcessorState): void {
    restoreProcessor(this.#at(index), state);
  }

  resetProcessor(index: number): void {
    this.#at(index).reset();
  }

  currentProcessor(): number {
    return this.#turns.current.index;
  }

  instructionsExecuted(): number {
    return this.#processors.reduce((sum, { executed }) => sum + executed, 0);
  }

  async close(): Promise<void> {
    await this.pause();
  }

  #at(index: number): Processor {
    const processor = this.#processors[index];
    if (processor === undefined) throw new RangeError(`there is no vCPU ${index}`);
    return processor;
  }

  /** Lets another vCPU that has work execute before the current one goes on. */
  #endTurn(): void {
    this.#turns.giveUp();
    this.#turns.current.requestStop();
  }

  #schedule(): void {
    this.#unschedule();
    this.#immediate = setImmediate(this.#run);
  }

  #unschedule(): void {
    clearImmediate(this.#immediate);
    clearTimeout(this.#timeout);
    this.#immediate = undefined;
    this.#timeout = undefined;
  }

  readonly #run = (): void => {
    this.#unschedule();
    this.#executing = true;
    try {
      this.#execute();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#executing = false;
    }
    for (const resolve of this.#paused.splice(0)) {
      resolve();
    }
  };

  /** Executes for a millisecond, or until nobody has anything to do; arranges for what follows. */
  #execute(): void {
    const { clock, timers, onEvent } = this.#context;
    const end = performance.now() + turn;
    for (;;) {
      timers.runDue();
      if (!this.#running) return;
      const now = clock.now();
      const processor = this.#turns.next(now);
      if (processor === undefined) {
        this.#sleep();
        return;
      }
      const outcome = this.#slice(processor, now);
      if (!this.#running) return;
      if (outcome === "shutdown") {
        this.#running = false;
        onEvent({
          kind: "triple-fault",
          processor: processor.index,
          report: describeProcessor(saveProcessor(processor)),
        });
        return;
      }
      if (performance.now() >= end) {
        this.#schedule();
        return;
      }
    }
  }

  /** Lets a vCPU execute until about the next deadline or the end of its turn, and learns how fast that was. */
  #slice(processor: Processor, start: number): RunOutcome {
    const { clock, timers } = this.#context;
    this.#deafness = firstDeafness;
    const rate = this.#rates[processor.index] as InstructionRate;
    const deadline = timers.nextDeadline() ?? Number.POSITIVE_INFINITY;
    const before = processor.executed;
    const outcome = processor.run(rate.instructionsIn(Math.min(deadline - start, this.#turns.left(start))));
    rate.measured(processor.executed - before, clock.now() - start);
    return outcome;
  }

  /** All vCPUs are halted: execution goes on at about the next deadline, or with {@link kick}. */
  #sleep(): void {
    const { clock, timers } = this.#context;
    const deadline = timers.nextDeadline();
    if (deadline === undefined) return;
    const wait = (deadline - clock.now()) / 1e6;
    if (wait > exactWait) {
      this.#timeout = setTimeout(this.#run, Math.floor(wait - exactWait / 2));
      return;
    }
    if (wait > 0) Atomics.wait(this.#sleepCell, 0, 0, Math.min(wait, this.#deafness));
    this.#deafness *= 2;
    this.#schedule();
  }

  #fail(error: unknown): void {
    this.#running = false;
    this.#unschedule();
    const { message, stack } = serializeError(error);
    this.#context.onEvent({
      kind: "internal-error",
      processor: this.#turns.current.index,
      report: stack ?? message,
    });
  }
}
