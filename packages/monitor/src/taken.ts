import type { Writable } from "node:stream";

/** Waits until what was written to a stream has been taken, or nobody is there any more. */
export async function taken(stream: Writable): Promise<void> {
  if (stream.destroyed || !stream.writableNeedDrain) {
    return;
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.on("drain", resolve).on("close", resolve);
  await promise;
  stream.off("drain", resolve).off("close", resolve);
}
