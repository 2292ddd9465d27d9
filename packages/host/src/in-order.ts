import { availableParallelism } from "node:os";

/**
 * Does something with each item: those of a lower order before those of a higher one, those of equal order side by side, but not
 * more than the host has processors for.
 *
 * @param options.reverse - those of a higher order come first.
 */
export async function inOrder<T extends { readonly order: number }>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  { reverse = false }: { readonly reverse?: boolean } = {},
): Promise<void> {
  const groups = [...Map.groupBy(items, ({ order }) => order)].sort(([a], [b]) => (reverse ? b - a : a - b));
  for (const [, group] of groups) {
    const waiting = [...group];
    const worker = async (): Promise<void> => {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
        await work(item);
      }
    };
    await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, worker));
  }
}
