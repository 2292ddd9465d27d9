import type { CopiedPages, IncomingPages, ReadOptions, WriteOptions } from "../ram-copy/ram-copy-threads.ts";
import type { RamBlockEntry } from "../stream/ram-section.ts";
import type { ChannelOptions, TransportChannel } from "../transport.ts";
import type { GuestRam, RamBlock } from "../vm/guest-ram.ts";
import type { ChannelSettings } from "./settings.ts";

/** Something that channels can be opened on: a sink or a source. */
interface Place {
  openChannel?(options: ChannelOptions): Promise<TransportChannel>;
}

/** A RAM block of the VM, and where its pages are in the stream. */
export interface MappedRam {
  readonly block: RamBlock;
  readonly mapped: NonNullable<RamBlockEntry["mapped"]>;
}

type RamCopyThreads = Awaited<ReturnType<GuestRam["beginCopyThreads"]>>;

/** The threads that copy the RAM of a VM in a migration with mapped-ram, and the channels that they use. */
export class RamChannels {
  readonly #ram: GuestRam;
  readonly #threads: RamCopyThreads;
  readonly #channels: readonly TransportChannel[];

  private constructor(ram: GuestRam, threads: RamCopyThreads, channels: readonly TransportChannel[]) {
    this.#ram = ram;
    this.#threads = threads;
    this.#channels = channels;
  }

  /**
   * Begins the threads and opens a channel for each.
   *
   * @param place - of a transport that is `parallel`.
   * @throws {CprError} the transport's if a channel cannot be had.
   */
  static async open(ram: GuestRam, place: Place, { count, direct }: ChannelSettings): Promise<RamChannels> {
    const threads = await ram.beginCopyThreads(count);
    const channels: TransportChannel[] = [];
    try {
      while (channels.length < threads.count) {
        channels.push((await place.openChannel?.({ direct })) as TransportChannel);
      }
    } catch (error) {
      await new RamChannels(ram, threads, channels).close();
      throw error;
    }
    return new RamChannels(ram, threads, channels);
  }

  /** Where in its file the stream begins. */
  get start(): number {
    return (this.#channels[0] as TransportChannel).start;
  }

  /** Writes the pages that are not zero; see {@link RamCopyThreads.write}. */
  write(ram: readonly MappedRam[], options: WriteOptions): Promise<readonly CopiedPages[]> {
    const blocks = ram.map((each) => ({ ...this.#placed(each), dataRanges: each.block.backing.dataRanges() }));
    return this.#threads.write(blocks, this.#channels, options);
  }

  /** Reads and checks pages; see {@link RamCopyThreads.read}. RAM that is loaded is zero where the stream has no page. */
  async read(ram: readonly (MappedRam & CopiedPages)[], options: ReadOptions): Promise<void> {
    const blocks = ram.map((each): IncomingPages => {
      const { backing } = each.block;
      return {
        ...this.#placed(each),
        bitmap: each.bitmap,
        chunkChecksums: each.chunkChecksums,
        // Private memory is empty. A file may hold what another VM has left there.
        staleRanges: options.target === "load" && backing.supports.survivesProcessExit ? backing.dataRanges() : [],
      };
    });
    await this.#threads.read(blocks, this.#channels, options);
  }

  async close(): Promise<void> {
    await this.#threads.close();
    await Promise.all(this.#channels.map((channel) => channel.close()));
  }

  #placed({ block: { id, bytes }, mapped: { pagesPosition } }: MappedRam) {
    const offset = bytes.byteOffset - this.#ram.allocation.bytes.byteOffset;
    return { id, offset, size: bytes.length, pagesPosition };
  }
}
