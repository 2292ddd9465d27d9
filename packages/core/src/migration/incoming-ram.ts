import { streamErrors } from "../errors/stream-errors.ts";
import { bitmapLength } from "../ram-copy/page-bitmap.ts";
import type { CopiedPages } from "../ram-copy/ram-copy-threads.ts";
import { type Checkpoint, readPages } from "../stream/checkpoint-reader.ts";
import { pageSize } from "../stream/format.ts";
import type { RamBlockEntry, RamVisitor } from "../stream/ram-section.ts";
import type { ReadBytes } from "../stream/stream-reader.ts";
import type { TransportSource } from "../transport.ts";
import type { RamBlock } from "../vm/guest-ram.ts";
import type { IncomingMigration } from "./incoming.ts";
import { untilAborted } from "./phase.ts";
import type { MappedRam, RamChannels } from "./ram-channels.ts";

/** Whether every page has a place of its own in the stream. */
export function isMapped({ capabilities }: IncomingMigration): boolean {
  return capabilities.has("mapped-ram");
}

const discarded = new Uint8Array(64 * 1024);

/** Reads a source as a stream is read. One without positions is read through, also where the stream is skipped. */
export function readerOf(source: TransportSource, signal: AbortSignal): ReadBytes {
  if (source.readAt !== undefined) {
    const readAt = source.readAt.bind(source);
    return (buffer, position) => untilAborted(readAt(position, buffer), signal);
  }
  let at = 0;
  const read = async (buffer: Uint8Array): Promise<number> => {
    const count = await untilAborted(source.read(buffer), signal);
    at += count;
    return count;
  };
  return async (buffer, position) => {
    while (at < position) {
      if ((await read(discarded.subarray(0, position - at))) === 0) {
        return 0;
      }
    }
    return read(buffer);
  };
}

/**
 * Reads which pages the stream has, and checks them all, before RAM that has a name is changed. Private RAM is empty
 * while the VM waits: its pages are checked when they are copied, and it is cleared again if they are not right.
 */
export async function checkPages(migration: IncomingMigration): Promise<void> {
  const { subject, checkpoint, source, signal } = migration;
  const { head, facts } = checkpoint as Checkpoint;
  const read = readerOf(source as TransportSource, signal);
  const mappedRam: (MappedRam & CopiedPages)[] = [];
  for (const { id, size, mapped } of head.blocks) {
    const block = subject.ram.blocks.find((each) => each.id === id);
    const chunkChecksums = facts.ram.find((each) => each.id === id)?.chunkChecksums;
    if (mapped !== undefined && block !== undefined && chunkChecksums !== undefined) {
      const bitmap = new Uint8Array(bitmapLength(size));
      if ((await read(bitmap, mapped.bitmapPosition)) < bitmap.length) {
        throw streamErrors.ERR_CPR_STREAM_TRUNCATED({ position: mapped.bitmapPosition });
      }
      mappedRam.push({ block, mapped, bitmap, chunkChecksums });
    }
  }
  migration.mappedRam = mappedRam;
  const named = mappedRam.filter(({ block }) => block.backing.supports.survivesProcessExit);
  if (named.length > 0) {
    const progress = { scanned: 0, normalPages: 0, zeroPages: 0 };
    await (migration.ramChannels as RamChannels).read(named, { signal, progress, target: "verify" });
  }
}

/** Copies the RAM that does not stay in place, unless that has been done while the stream was read. */
export async function copyRam(migration: IncomingMigration): Promise<void> {
  const { source, checkpoint, signal, ramChannels, mappedRam = [], record } = migration;
  const { head } = checkpoint as Checkpoint;
  if (source !== undefined && copiedBlocks(migration).length > 0) {
    const copier = new RamCopier(migration);
    if (isMapped(migration)) {
      partFromCheckpoints(copiedBlocks(migration));
      migration.ramTouched = true;
      await ramChannels?.read(mappedRam, { signal, progress: record.progress, target: "load" });
    } else {
      await readPages(readerOf(source, signal), head, copier);
    }
    copier.finish();
  }
  await closeSource(migration);
}

/** The command or socket at the other end may tell only now that it failed. */
export async function closeSource(migration: IncomingMigration): Promise<void> {
  const { source, ramChannels } = migration;
  migration.source = undefined;
  migration.ramChannels = undefined;
  await ramChannels?.close();
  await source?.close();
}

/** RAM that a failed load has written to is cleared: it was empty before, or held what no checkpoint knows. */
export async function clearRam(migration: IncomingMigration): Promise<void> {
  if (migration.ramTouched === true) {
    migration.ramTouched = false;
    for (const block of copiedBlocks(migration)) {
      for (const [start, end] of block.backing.dataRanges()) {
        block.bytes.fill(0, start, end);
      }
    }
  }
}

/** The blocks whose contents are in the stream; before that is known, all that could not stay in place here. */
export function copiedBlocks({ subject, mode, capabilities, checkpoint }: IncomingMigration): readonly RamBlock[] {
  return subject.ram.blocks.filter(({ id, backing }) =>
    checkpoint === undefined
      ? !(capabilities.has("x-ignore-shared") && mode.keepsInPlace(backing.supports))
      : checkpoint.facts.ram.some((facts) => facts.id === id && !facts.inPlace),
  );
}

/** What RAM was left in place for, if it was, cannot be loaded any more: also not if this load fails, or is killed. */
function partFromCheckpoints(blocks: readonly RamBlock[]): void {
  for (const { mark } of blocks) {
    mark?.remove();
  }
}

/** Puts pages into RAM, and zeros where the stream has no page. */
export class RamCopier implements RamVisitor {
  readonly #migration: IncomingMigration;
  #targets: readonly (RamBlock | undefined)[] = [];

  constructor(migration: IncomingMigration) {
    this.#migration = migration;
  }

  blocks(blocks: readonly RamBlockEntry[]): void {
    const copied = copiedBlocks(this.#migration);
    this.#targets = blocks.map(({ id }) => copied.find((block) => block.id === id));
    partFromCheckpoints(copied);
    for (const { bytes, backing } of copied) {
      // Private memory is empty. A file may hold what another VM has left there.
      if (backing.supports.survivesProcessExit) {
        for (const [start, end] of backing.dataRanges()) {
          this.#migration.ramTouched = true;
          bytes.fill(0, start, end);
        }
      }
    }
  }

  page(block: number, offset: number, contents: Uint8Array | undefined): void {
    const target = this.#targets[block];
    const { record } = this.#migration;
    if (target === undefined) {
      throw streamErrors.ERR_CPR_STREAM_FORMAT({
        position: 0,
        problem: `the stream has pages for RAM block ${block}, which could stay in place here, and it can be read only once`,
      });
    }
    this.#migration.ramTouched = true;
    if (contents === undefined) {
      target.bytes.fill(0, offset, offset + pageSize);
    } else {
      target.bytes.set(contents, offset);
      record.progress.normalPages += 1;
    }
  }

  /** All pages have come: those that have not are zero. */
  finish(): void {
    const { record, subject } = this.#migration;
    const { progress } = record;
    const copied = copiedBlocks(this.#migration).reduce((sum, { bytes }) => sum + bytes.length, 0);
    progress.scanned = subject.ram.size;
    progress.zeroPages = Math.max(copied / pageSize - progress.normalPages, 0);
  }
}
