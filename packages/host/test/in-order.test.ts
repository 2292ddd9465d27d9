import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { inOrder } from "../src/in-order.ts";

/** What happened, in order, to items of these orders. */
async function happened(orders: readonly number[], reverse = false): Promise<readonly string[]> {
  const events: string[] = [];
  const items = orders.map((order, index) => ({ order, name: `${order}${"abc"[index]}` }));
  const work = async ({ name }: { readonly name: string }): Promise<void> => {
    events.push(`+${name}`);
    await delay(1);
    events.push(`-${name}`);
  };
  await inOrder(items, work, { reverse });
  return events;
}

it("does those of a lower order first, and of a higher one when it is reversed, each order when the one before is done", async () => {
  expect(await happened([5, -1, 10])).toEqual(["+-1b", "--1b", "+5a", "-5a", "+10c", "-10c"]);
  expect(await happened([5, -1, 10], true)).toEqual(["+10c", "-10c", "+5a", "-5a", "+-1b", "--1b"]);
});

it("does those of equal order side by side", async () => {
  expect(await happened([1, 1])).toEqual(["+1a", "+1b", "-1a", "-1b"]);
});

it("does not do more at once than there are processors", async () => {
  let running = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await delay(1);
    running -= 1;
  };
  const items = Array.from({ length: 40 }, () => ({ order: 0 }));
  await inOrder(items, work);
  expect(most).toBe(Math.min(40, Math.max(2, availableParallelism())));
});
