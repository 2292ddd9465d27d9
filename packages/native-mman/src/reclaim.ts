/**
 * Gives pages of RAM back to the host: `ReclaimFunction` of `@cpr/core`. A module of its own, because the machine's thread imports it
 * by its URL. Importing it fails without the addon.
 *
 * @packageDocumentation
 */
import type { ReclaimFunction } from "@cpr/core";
import { addon } from "./addon.ts";

const native = addon();

// Values of the Linux ABI (asm-generic/mman-common.h).
const MADV_DONTNEED = 4;
const MADV_REMOVE = 9;

/**
 * Shared pages leave the file, memfd or huge page that they are in (MADV_REMOVE); private ones are forgotten (MADV_DONTNEED). A
 * refusal, e.g. of a file system without holes, leaves everything as it was.
 */
export const reclaim: ReclaimFunction = (pages, shared) => {
  native.madvise(pages, shared ? MADV_REMOVE : MADV_DONTNEED);
};
