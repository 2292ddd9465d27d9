import { setTimeout as delay } from "node:timers/promises";
import { since } from "../report.ts";
import type { SpinningGuest } from "./spinning-guest.ts";

/** What can be told to stop and to go on. */
export interface Pausable {
  /** Fulfilled when no vCPU executes. */
  stop(): Promise<unknown>;
  cont(): Promise<unknown>;
}

/** Milliseconds of each of several stops and continuations. */
export interface Pauses {
  /** Until the answer, when no vCPU executes. */
  readonly stop: number[];
  /** Until the answer. */
  readonly cont: number[];
  /** Until a vCPU was seen to execute. */
  readonly first: number[];
  /** Until all were. */
  readonly all: number[];
}

/** Stops a guest whose vCPUs all spin, and lets it go on, several times. @throws if a vCPU executes after it has stopped. */
export async function measurePauses(
  machine: Pausable,
  guest: SpinningGuest,
  processors: number,
  times: number,
): Promise<Pauses> {
  const pauses: Pauses = { stop: [], cont: [], first: [], all: [] };
  await guest.running();
  for (let time = 0; time < times; time += 1) {
    await delay(10);
    const stopping = performance.now();
    await machine.stop();
    pauses.stop.push(since(stopping));
    const stopped = guest.counters();
    await delay(5);
    if (guest.counters().some((count, index) => count !== stopped[index])) throw new Error("a vCPU did not stop");
    const begin = performance.now();
    const answered = machine.cont().then(() => pauses.cont.push(since(begin)));
    await guest.moved(stopped, 1);
    pauses.first.push(since(begin));
    await guest.moved(stopped, processors);
    pauses.all.push(since(begin));
    await answered;
  }
  return pauses;
}
