import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { type CprError, isCprError } from "@cpr/core";

/** Fails unless the promise is rejected with a {@link CprError}, which it returns. */
export async function rejectsWithCprError(promise: Promise<unknown>, code?: string): Promise<CprError> {
  const error = await rejection(promise);
  assert.ok(isCprError(error), `expected a CprError, got ${String(error)}`);
  assert.match(error.code, /^ERR_CPR_[A-Z0-9_]+$/);
  assert.notEqual(error.message.trim(), "", "the error has no message");
  if (code !== undefined) {
    assert.equal(error.code, code);
  }
  return error;
}

/** Fails unless the promise is rejected with an `AbortError`. */
export async function rejectsWithAbortError(promise: Promise<unknown>): Promise<void> {
  const error = await rejection(promise);
  assert.equal((error as Error | undefined)?.name, "AbortError", `expected an AbortError, got ${String(error)}`);
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await within(promise, "a rejection");
  } catch (error) {
    return error;
  }
  assert.fail(`expected a rejection, got ${String(value)}`);
}

/**
 * How long an operation that should end at once may take before it counts as hanging. Long, so that a hang is told
 * from a slow machine; only tests that expect a hang make it shorter.
 */
export const patience = { milliseconds: 10_000 };

/** The promise's outcome; fails if it is not settled before {@link patience} ends. */
export async function within<T>(promise: Promise<T>, what: string, milliseconds = patience.milliseconds): Promise<T> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      promise,
      delay(milliseconds, undefined, { signal: timer.signal }).then(() => assert.fail(`${what} did not happen`)),
    ]);
  } finally {
    timer.abort();
  }
}

/** Waits until the condition holds; fails if it does not before {@link patience} ends. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + patience.milliseconds;
  while (!condition()) {
    assert.ok(performance.now() < end, `${what} did not happen`);
    await delay(1);
  }
}

/** Fails unless both hold the same bytes; tells the first that differs instead of printing megabytes. */
export function equalBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  if (Buffer.compare(actual, expected) !== 0) {
    const at = actual.findIndex((byte, index) => byte !== expected[index]);
    assert.fail(`${what}: byte ${at} is ${actual[at]}, not ${expected[at]}`);
  }
}

/** Bytes that look random and are the same in every run: xorshift32 (Marsaglia, 2003). */
export function pseudoRandomBytes(length: number, seed = 0x2545_f491): Uint8Array {
  const result = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    result[index] = state;
  }
  return result;
}
