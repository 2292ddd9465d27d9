import {
  type Execution,
  type ExecutionContext,
  type ProcessorInterrupts,
  type ProcessorState,
  serializeError,
} from "@cpr/core";
import type { Processor } from "./system/processor.ts";
import { checkProcessor, restoreProcessor, saveProcessor } from "./system/processor-checkpoint.ts";

/** Milliseconds that the guest executes before the machine thread looks at its messages. */
const turn = 1;
/** Instructions of a slice: at least so many, so that the overhead is small; at most so many, so that none is long. */
const leastInstructions = 2_000;
const mostInstructions = 2_000_000;
/** Instructions a nanosecond, before any was measured. */
const assumedRate = 0.03;
/** Milliseconds below which a deadline is waited for exactly. */
const exactWait = 1;

/**
 * Executes one vCPU on the machine thread, in turns of about a millisecond between which the thread's other work (RPC
 * messages, output) gets its chance. Within a turn, timers run whenever one is due.
 *
 * A halted guest costs nothing: the thread sleeps until the next timer's deadline or until {@link kick}. The event loop's timers
 * have a granularity of a millisecond, so the last part of a wait is spent in `Atomics.wait` on a cell that nobody writes
 * to. It blocks the thread, hence kicks too (they come from this thread's own messages), but for less than {@link exactWait}.
 */
export class InterpreterExecution implements Execution {
  readonly #processor: Processor;
  readonly #context: ExecutionContext;
  readonly #sleepCell = new Int32Array(new SharedArrayBuffer(4));
  #running = false;
  /** A turn is executing: we are called from within it. */
  #executing = false;
  #immediate: NodeJS.Immediate | undefined;
  #timeout: NodeJS.Timeout | undefined;
  #paused: (() => void)[] = [];
  /** Instructions a nanosecond of late. */
  #rate = assumedRate;

  constructor(context: ExecutionContext, processor: Processor) {
    this.#context = context;
    this.#processor = processor;
  }

  attachInterrupts(_processor: number, interrupts: ProcessorInterrupts): void {
    this.#processor.attachInterrupts(interrupts, () => {
      // While it executes, the processor looks for itself.
      if (!this.#executing) this.kick();
    });
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    // RAM may have been written meanwhile, for which nobody asked the code cache.
    this.#processor.code.flush();
    this.#schedule();
  }

  pause(): Promise<void> {
    this.#running = false;
    this.#unschedule();
    if (!this.#executing) return Promise.resolve();
    this.#processor.requestStop();
    return new Promise((resolve) => {
      this.#paused.push(resolve);
    });
  }

  kick(): void {
    if (this.#executing) {
      this.#processor.requestStop();
    } else if (this.#running && this.#immediate === undefined) {
      this.#schedule();
    }
  }

  saveProcessor(_processor: number): ProcessorState {
    return saveProcessor(this.#processor);
  }

  checkProcessor(_processor: number, state: ProcessorState): void {
    checkProcessor(this.#processor, state);
  }

  restoreProcessor(_processor: number, state: ProcessorState): void {
    restoreProcessor(this.#processor, state);
  }

  resetProcessor(_processor: number): void {
    this.#processor.reset();
  }

  currentProcessor(): number {
    return 0;
  }

  instructionsExecuted(): number {
    return this.#processor.executed;
  }

  async close(): Promise<void> {
    await this.pause();
  }

  #schedule(): void {
    this.#unschedule();
    this.#immediate = setImmediate(this.#turn);
  }

  #unschedule(): void {
    clearImmediate(this.#immediate);
    clearTimeout(this.#timeout);
    this.#immediate = undefined;
    this.#timeout = undefined;
  }

  readonly #turn = (): void => {
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

  /** One turn; arranges for the next one. */
  #execute(): void {
    const { timers, onEvent } = this.#context;
    const processor = this.#processor;
    const end = performance.now() + turn;
    for (;;) {
      timers.runDue();
      if (!this.#running) return;
      const outcome = this.#slice();
      if (!this.#running) return;
      if (outcome === "shutdown") {
        this.#running = false;
        onEvent({ kind: "triple-fault", processor: processor.index, report: processor.shutdownReport });
        return;
      }
      if (outcome === "idle" && !processor.hasWork()) {
        if (!this.#sleep(end)) return;
      } else if (performance.now() >= end) {
        this.#schedule();
        return;
      }
    }
  }

  /** Executes until about the next deadline, and learns how fast that was. */
  #slice(): ReturnType<Processor["run"]> {
    const { clock, timers } = this.#context;
    const processor = this.#processor;
    const deadline = timers.nextDeadline();
    const start = clock.now();
    const time = Math.min(deadline === undefined ? Number.POSITIVE_INFINITY : deadline - start, turn * 1e6);
    const instructions = Math.min(Math.max(time * this.#rate, leastInstructions), mostInstructions);
    const before = processor.executed;
    const outcome = processor.run(Math.ceil(instructions));
    const executed = processor.executed - before;
    const elapsed = clock.now() - start;
    if (executed >= leastInstructions && elapsed > 0) {
      // NOTE: down at once, because a slice that is too long keeps messages waiting.
      const measured = executed / elapsed;
      this.#rate = measured < this.#rate ? measured : this.#rate + (measured - this.#rate) / 8;
    }
    return outcome;
  }

  /** The guest is halted. Returns whether the turn goes on: the next deadline was near and has passed. */
  #sleep(end: number): boolean {
    const { clock, timers } = this.#context;
    const deadline = timers.nextDeadline();
    if (deadline === undefined) return false;
    const wait = (deadline - clock.now()) / 1e6;
    if (wait > exactWait) {
      this.#timeout = setTimeout(this.#turn, Math.floor(wait - exactWait / 2));
      return false;
    }
    if (wait > 0) Atomics.wait(this.#sleepCell, 0, 0, wait);
    if (performance.now() < end) return true;
    this.#schedule();
    return false;
  }

  #fail(error: unknown): void {
    this.#running = false;
    this.#unschedule();
    const { message, stack } = serializeError(error);
    this.#context.onEvent({
      kind: "internal-error",
      processor: this.#processor.index,
      report: stack ?? message,
    });
  }
}
