import type { Timer, Timers, VirtualClock } from "./clock.ts";

/** What an execution backend needs of the timers. */
export interface DueTimers {
  /** Virtual time of the earliest armed timer, or undefined if none is armed. */
  nextDeadline(): number | undefined;
  /** Calls back every timer whose deadline has passed, earliest first. */
  runDue(): void;
}

class QueuedTimer implements Timer {
  readonly name: string;
  readonly callback: (deadline: number) => void;
  readonly #queue: TimerQueue;
  #deadline: number | undefined;

  constructor(queue: TimerQueue, name: string, callback: (deadline: number) => void) {
    this.#queue = queue;
    this.name = name;
    this.callback = callback;
  }

  get deadline(): number | undefined {
    return this.#deadline;
  }

  arm(deadline: number): void {
    this.#deadline = deadline;
    this.#queue.changed();
  }

  disarm(): void {
    this.#deadline = undefined;
    this.#queue.changed();
  }
}

/** The timers of one machine: few, so the earliest is found by looking at all of them. */
export class TimerQueue implements Timers, DueTimers {
  readonly #clock: VirtualClock;
  readonly #timers: QueuedTimer[] = [];
  #earliest: number | undefined;
  #stale = false;
  /** Called when the earliest deadline may have moved. */
  onChange: () => void = () => undefined;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  create(name: string, callback: (deadline: number) => void): Timer {
    const timer = new QueuedTimer(this, name, callback);
    this.#timers.push(timer);
    return timer;
  }

  /** Told by a timer that was armed or disarmed. */
  changed(): void {
    this.#stale = true;
    this.onChange();
  }

  nextDeadline(): number | undefined {
    if (this.#stale) {
      this.#stale = false;
      this.#earliest = undefined;
      for (const { deadline } of this.#timers) {
        if (deadline !== undefined && (this.#earliest === undefined || deadline < this.#earliest)) {
          this.#earliest = deadline;
        }
      }
    }
    return this.#earliest;
  }

  runDue(): void {
    const now = this.#clock.now();
    for (;;) {
      const earliest = this.nextDeadline();
      if (earliest === undefined || earliest > now) {
        return;
      }
      const timer = this.#timers.find(({ deadline }) => deadline === earliest);
      if (timer === undefined) {
        return;
      }
      timer.disarm();
      timer.callback(earliest);
    }
  }
}
