import type { DescriptorSource } from "./descriptor-registry.ts";
import type { CprError } from "./errors.ts";
import type { MemoryBacking } from "./memory-provider.ts";
import { extensionPoint } from "./plugin.ts";

/** What a transport can do, as data: modes decide from this whether they accept it. */
export interface TransportSupports {
  /**
   * The bytes come to rest somewhere and can be read after the sending process is gone. `false` means that they
   * stream from one live process to another.
   */
  readonly stores: boolean;
  /** Sinks and sources take positions, so the stream's layout may have holes and be read out of order. */
  readonly seekable: boolean;
  /** Threads can read and write at positions, through descriptors of their own. Only what is `seekable` can be. */
  readonly parallel: boolean;
  /** Open file descriptors travel with the bytes. */
  readonly passesDescriptors: boolean;
}

/** A migration URI, taken apart at the first colon. */
export interface TransportUri {
  /** As the user wrote it. */
  readonly text: string;
  readonly scheme: string;
  /** All that follows the colon. */
  readonly rest: string;
}

/** Options of everything that can block. */
export interface Abortable {
  /** Ends the operation with an `AbortError`; everything that it opened is closed and nothing is left behind. */
  readonly signal?: AbortSignal;
}

/** Options of the opening of a sink or source. */
export interface TransportOptions extends Abortable {
  /** The descriptors that the user has handed over, for URIs that name one; none if undefined. */
  readonly descriptors?: DescriptorSource;
}

/** Options of a channel. */
export interface ChannelOptions {
  /**
   * Bytes bypass the host's page cache (open(2) O_DIRECT). Positions in the file, lengths and addresses are multiples of
   * the page size then.
   */
  readonly direct: boolean;
}

/** A descriptor through which a thread of its own reads or writes at positions of a stream: pread(2), pwrite(2). */
export interface TransportChannel {
  readonly descriptor: number;
  /** Where in the file the stream begins, in bytes. */
  readonly start: number;
  /** The transport's error for what a read or write through {@link descriptor} threw. */
  failure(cause: NodeJS.ErrnoException): Error;
  /** Closes the descriptor. What was written is part of the stream. */
  close(): Promise<void>;
}

/** Takes a migration stream. Nothing that it replaces is touched before {@link commit}. */
export interface TransportSink {
  /** Appends bytes. The buffer may be reused when the promise is fulfilled. */
  write(bytes: Uint8Array): Promise<void>;
  /** Writes bytes at a position counted from the start of the stream. Only if `supports.seekable`. */
  writeAt?(position: number, bytes: Uint8Array): Promise<void>;
  /**
   * Opens another way to write at positions. Only if `supports.parallel`. All channels are closed before
   * {@link commit}, which makes what they wrote durable too, or before {@link abort}.
   *
   * @throws {CprError} if a channel of this kind cannot be had; details carry `uri`.
   */
  openChannel?(options: ChannelOptions): Promise<TransportChannel>;
  /**
   * Makes the stream durable and visible under its name: when the promise is fulfilled, it survives a crash of the
   * host as far as the transport can tell.
   */
  commit(): Promise<void>;
  /** Gives the stream up. What was there before is as it was. May be called after a failure, and twice. */
  abort(): Promise<void>;
}

/** Gives a migration stream. */
export interface TransportSource {
  /** Fills the buffer from the present position; returns how many bytes were read, fewer only at the end. */
  read(buffer: Uint8Array): Promise<number>;
  /** Fills the buffer from a position. Only if `supports.seekable`. */
  readAt?(position: number, buffer: Uint8Array): Promise<number>;
  /**
   * Opens another way to read at positions. Only if `supports.parallel`. All channels are closed before {@link close}.
   *
   * @throws {CprError} if a channel of this kind cannot be had; details carry `uri`.
   */
  openChannel?(options: ChannelOptions): Promise<TransportChannel>;
  /**
   * Releases the source.
   *
   * @throws {CprError} if the other end failed, e.g. a command's exit status.
   */
  close(): Promise<void>;
}

/** What can be told of the place that a URI names without opening it. */
export interface PlaceReport {
  /** Bytes that can be written there now; undefined if nobody knows. */
  readonly free?: number;
  /** What stands there now, as {@link MemoryBacking.identity} names it; undefined if it is nothing, or nobody knows. */
  readonly identity?: string;
  /** What is there is found again after the host's kernel was replaced; undefined if nobody knows. */
  readonly survivesReboot?: boolean;
  /** Why nothing can be written there, if that can be seen; the error that {@link Transport.openSink} would throw. */
  readonly problem?: CprError;
}

/** Moves a migration stream to and from the place that a URI names. */
export interface Transport {
  /** The part of the URI before the colon; the key under `provides`. */
  readonly scheme: string;
  readonly supports: TransportSupports;
  /** A URI that can be written at any time and keeps nothing, for rehearsals. */
  readonly nowhere?: string;
  /**
   * Looks at the place that a URI names; opens and changes nothing. Called before anything else is judged.
   *
   * @throws {CprError} if the URI is malformed. A place that cannot be used is told by {@link openSink}.
   */
  examine?(uri: TransportUri): Promise<PlaceReport>;
  /**
   * Opens the place for writing. Called before the VM is stopped, so a URI that cannot work costs the guest nothing.
   *
   * @throws {CprError} if the URI is malformed or the place cannot be written; details carry `uri`.
   */
  openSink(uri: TransportUri, options?: TransportOptions): Promise<TransportSink>;
  /** @throws {CprError} if the URI is malformed or there is nothing to read. */
  openSource(uri: TransportUri, options?: TransportOptions): Promise<TransportSource>;
}

export const Transport = extensionPoint<Transport>("transport");
