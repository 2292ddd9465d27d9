import type { SerializedError } from "../errors.ts";
import type { PluginRecord } from "../plugin-record.ts";

/** A RAM block whose pages are copied, as the threads see it. */
export interface CopiedBlock {
  readonly id: string;
  /** Where it begins in the RAM of the VM, in bytes. */
  readonly offset: number;
  readonly size: number;
  /** Where its first page is in the stream. */
  readonly pagesPosition: number;
  /** A bit for each page that is in the stream, the lowest first; shared. Of a copy to the stream, at first a bit for each page that may be. */
  readonly bitmap: Uint8Array;
  /** By chunk; shared. */
  readonly checksums: Uint32Array;
  /** Of pages that are loaded: a bit for each page of RAM that may hold something else than zeros; shared. */
  readonly stale?: Uint8Array;
}

/**
 * What is done with the pages: `write` them to the stream, `verify` those in the stream without a change to RAM, or
 * `load` them into RAM, verified too.
 */
export type CopyKind = "write" | "verify" | "load";

/** What one thread is told to do. All threads of a copy have the same blocks and the same control. */
export interface CopyJob {
  readonly kind: CopyKind;
  readonly blocks: readonly CopiedBlock[];
  readonly control: SharedArrayBuffer;
  readonly descriptor: number;
  /** Where in the file the stream begins. */
  readonly start: number;
  /** Bytes per second of all threads together. */
  readonly bandwidth: number | undefined;
  /** When the copy began; see `now()`. */
  readonly begun: number;
}

/** Why a thread could not do its part, and at which chunk, counted over all blocks; -1 is before the first. */
export type CopyFailure = CopyProblem & { readonly chunk: number };

/** What can go wrong with a chunk. */
export type CopyProblem =
  /** A read or write failed. */
  | { readonly kind: "system"; readonly code: string; readonly errno: number; readonly message: string }
  /** The stream ends before all pages were read. */
  | { readonly kind: "truncated"; readonly position: number }
  /** Pages are not what was written. */
  | { readonly kind: "damaged"; readonly block: string; readonly offset: number }
  /** Anything else. */
  | { readonly kind: "other"; readonly error: SerializedError };

/** What a thread sends: that it has begun, or that a job has ended. */
export type CopyMessage = { readonly failure?: CopyFailure };

/** RAM that only the backend which made it can show to another thread. */
export interface AdoptableRam {
  readonly plugins: readonly PluginRecord[];
  readonly backend: string;
  /** `RamAllocation.handle`. */
  readonly handle: unknown;
}

/** What a thread is begun with. */
export interface CopyThreadData {
  /** All RAM of the VM: shared memory as it is, which takes half the time, or how to come by it. */
  readonly ram: Uint8Array | AdoptableRam;
  /** `MemoryBacking.pageFunctions`. */
  readonly pageFunctions: string | undefined;
  /** Where V8 keeps compiled code; undefined if it does not. */
  readonly compileCache: string | undefined;
}
