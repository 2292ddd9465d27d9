import { expect, test } from "vitest";
import { Turns } from "../src/turns.ts";

/** Takers of turns that have work until they are told otherwise. */
function takers(count: number) {
  return Array.from({ length: count }, (_, index) => ({
    index,
    busy: true,
    hasWork() {
      return this.busy;
    },
  }));
}
const round = 1000;

/** Who executes at each of some times. */
const schedule = (turns: Turns<{ index: number; hasWork(): boolean }>, times: readonly number[]) =>
  times.map((time) => turns.next(time)?.index);

test("one that is alone has turn after turn", () => {
  const turns = new Turns(takers(1), round);
  expect(schedule(turns, [0, 500, 1000, 5000])).toEqual([0, 0, 0, 0]);
  expect(turns.left(5200)).toBe(800);
});

test("those that have work take equal turns, and go round in the time that one alone would have", () => {
  const turns = new Turns(takers(4), round);
  const times = Array.from({ length: 16 }, (_, index) => index * 125);
  expect(schedule(turns, times)).toEqual([1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3, 0, 0]);
});

test("those that have none are passed over, and leave their time to the others", () => {
  const all = takers(4);
  const turns = new Turns(all, round);
  for (const index of [0, 2]) (all[index] as { busy: boolean }).busy = false;
  expect(schedule(turns, [0, 499, 500, 999, 1000])).toEqual([1, 1, 3, 3, 1]);
  expect(turns.current.index).toBe(1);
});

test("one that runs out of work loses the rest of its turn", () => {
  const all = takers(2);
  const turns = new Turns(all, round);
  expect(turns.next(0)?.index).toBe(1);
  (all[1] as { busy: boolean }).busy = false;
  expect(turns.next(1)?.index).toBe(0);
  (all[0] as { busy: boolean }).busy = false;
  expect(turns.next(2)).toBeUndefined();
});

test("one that gives its turn up gets another when the others have had theirs", () => {
  const turns = new Turns(takers(3), 900);
  expect(turns.next(0)?.index).toBe(1);
  turns.giveUp();
  expect(schedule(turns, [10, 310, 610])).toEqual([2, 0, 1]);
  const alone = new Turns(takers(1), round);
  alone.next(0);
  alone.giveUp();
  expect(alone.next(10)?.index).toBe(0);
});
