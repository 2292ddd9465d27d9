import { pageSize } from "../stream/format.ts";

/** The words that all threads of a copy share. */
const word = { nextChunk: 0, stopped: 1, normalPages: 2, zeroPages: 3, count: 4 } as const;

/** What the threads that copy RAM tell each other while they work, in memory that they share. */
export class CopyControl {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(4 * word.count)) {
    this.#words = new Int32Array(memory);
  }

  /** For the constructor on another thread. */
  get memory(): SharedArrayBuffer {
    return this.#words.buffer as SharedArrayBuffer;
  }

  /** The number of a chunk that no thread has taken yet. */
  takeChunk(): number {
    return Atomics.add(this.#words, word.nextChunk, 1);
  }

  /** Whether no further chunk is wanted. */
  get stopped(): boolean {
    return Atomics.load(this.#words, word.stopped) !== 0;
  }

  /** Ends the work of all threads, each at its next step. */
  stop(): void {
    Atomics.store(this.#words, word.stopped, 1);
    Atomics.notify(this.#words, word.stopped);
  }

  /** Counts pages that were copied, and pages that are zero. */
  count(normalPages: number, zeroPages: number): void {
    Atomics.add(this.#words, word.normalPages, normalPages);
    Atomics.add(this.#words, word.zeroPages, zeroPages);
  }

  get normalPages(): number {
    return Atomics.load(this.#words, word.normalPages);
  }

  get zeroPages(): number {
    return Atomics.load(this.#words, word.zeroPages);
  }

  /**
   * Waits as long as the pages that all threads have copied are too many for the time that has passed. Not on the main
   * thread.
   *
   * @param begun - when the copy began, as {@link now} tells it.
   * @param bandwidth - in bytes per second.
   */
  pace(begun: number, bandwidth: number): void {
    for (;;) {
      const early = (this.normalPages * pageSize * 1000) / bandwidth - (now() - begun);
      if (early < 1 || this.stopped) {
        return;
      }
      Atomics.wait(this.#words, word.stopped, 0, early);
    }
  }
}

/** Milliseconds of a clock that is the same on all threads. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
