import type { readv, writev } from "node:fs";

/**
 * Reads or writes buffers from an offset of a file on, in as few system calls as the kernel takes: it may do less than it was
 * asked for, and takes no more than 1024 buffers at once.
 *
 * @returns the part of the buffers for which nothing was there: the file has ended.
 */
export function transfer(
  operation: typeof readv | typeof writev,
  descriptor: number,
  offset: number,
  buffers: readonly Uint8Array[],
): Promise<readonly Uint8Array[] | undefined> {
  return new Promise((resolve, reject) => {
    const go = (position: number, rest: readonly Uint8Array[]): void => {
      if (rest.length === 0) {
        resolve(undefined);
        return;
      }
      operation(descriptor, rest, position, (error, count) => {
        if (error !== null) reject(error);
        else if (count === 0) resolve(rest);
        else go(position + count, without(rest, count));
      });
    };
    go(
      offset,
      buffers.filter(({ length }) => length > 0),
    );
  });
}

/** What is left of buffers behind their first `count` bytes. */
function without(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let index = 0;
  let left = count;
  for (let buffer = buffers[0]; buffer !== undefined && buffer.length <= left; buffer = buffers[index]) {
    left -= buffer.length;
    index += 1;
  }
  const first = buffers[index];
  return first === undefined ? [] : [first.subarray(left), ...buffers.slice(index + 1)];
}
