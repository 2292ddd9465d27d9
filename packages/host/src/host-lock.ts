import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isCprError, systemReason } from "@cpr/core";
import { tryLock } from "@cpr/native-mman";
import { hostErrors } from "./host-errors.ts";
import type { HostFolders } from "./host-folders.ts";

/**
 * Lets one command at a time work on the registered VMs. The lock ends with the process, however that ends.
 *
 * @throws {CprError} ERR_CPR_HOST_BUSY, ERR_CPR_HOST_FOLDER
 */
export function lockHost({ state, runtime }: HostFolders): Disposable {
  let descriptor: number | undefined;
  try {
    mkdirSync(state, { recursive: true, mode: 0o700 });
    mkdirSync(runtime, { recursive: true, mode: 0o700 });
    const path = join(state, "host.lock");
    descriptor = openSync(path, "a", 0o600);
    if (!tryLock(descriptor, "exclusive")) {
      throw hostErrors.ERR_CPR_HOST_BUSY({ path });
    }
  } catch (cause) {
    if (descriptor !== undefined) {
      closeSync(descriptor);
    }
    if (isCprError(cause)) {
      throw cause;
    }
    throw hostErrors.ERR_CPR_HOST_FOLDER({ path: state, reason: systemReason(cause) }, { cause });
  }
  const locked = descriptor;
  return { [Symbol.dispose]: () => closeSync(locked) };
}

/** How often it is tried, in milliseconds. */
const interval = 100;

/** The same, but waits for other commands to be done, until the signal comes. @throws {CprError} as {@link lockHost} does */
export async function awaitHost(folders: HostFolders, signal: AbortSignal): Promise<Disposable> {
  for (;;) {
    try {
      return lockHost(folders);
    } catch (error) {
      if (!isCprError(error) || error.code !== "ERR_CPR_HOST_BUSY" || signal.aborted) {
        throw error;
      }
    }
    await delay(interval);
  }
}
