import { migrationErrors } from "../errors/migration-errors.ts";
import { streamErrors } from "../errors/stream-errors.ts";
import type { Kernel } from "../kernel.ts";
import { bitmapLength, hasPage } from "../ram-copy/page-bitmap.ts";
import { decodeState } from "../state/codec.ts";
import { type DescribedValue, decodeDescribed } from "../state/described-value.ts";
import type { StateOf } from "../state/schema.ts";
import { type Checkpoint, readCheckpoint, readStreamConfiguration } from "../stream/checkpoint-reader.ts";
import { BlockChecksums, chunkSize, damagedChunk } from "../stream/chunk-checksum.ts";
import type { StreamConfiguration } from "../stream/configuration-section.ts";
import type { CheckpointOrigin, FileFacts } from "../stream/description-section.ts";
import { pageSize } from "../stream/format.ts";
import { globalState, globalStateName, interpretGlobalState } from "../stream/global-state.ts";
import type { RamBlockEntry } from "../stream/ram-section.ts";
import type { ReadBytes } from "../stream/stream-reader.ts";
import type { TransportSource } from "../transport.ts";
import { readerOf } from "./incoming-ram.ts";
import { parseTransportUri, transportFor } from "./transport-uri.ts";
import { decodeUuid } from "./uuid.ts";

/** A RAM block of a checkpoint. */
export interface InspectedRam {
  readonly id: string;
  /** In bytes. */
  readonly size: number;
  /** Guest-physical; with x-ignore-shared only. */
  readonly address?: number;
  /** The contents are in the memory object and not in the checkpoint. */
  readonly inPlace: boolean;
  /** The memory object carries the generation and has to be the same. */
  readonly bound: boolean;
  /** Pages of 4 KiB that the checkpoint has. */
  readonly pages: number;
}

/** A device section of a checkpoint. */
export interface InspectedSection {
  /** The id of the device. */
  readonly name: string;
  readonly instance: number;
  /** The kind of state, and its version. */
  readonly kind: string;
  readonly version: number;
  /** In bytes. */
  readonly size: number;
  /** Its fields by name, in the order of the stream. */
  readonly fields: Readonly<Record<string, DescribedValue>>;
}

/** What a checkpoint says about itself. */
export interface CheckpointInspection extends Partial<CheckpointOrigin> {
  readonly uri: string;
  /** In bytes, the holes of mapped-ram included. */
  readonly length: number;
  /** The version of what this program adds to QEMU's stream. */
  readonly format: number;
  readonly machine: string;
  readonly capabilities: readonly string[];
  readonly uuid?: string;
  readonly mode: string;
  readonly generation: string;
  readonly processor: { readonly model: string; readonly count: number };
  /** What the VM will be when it is loaded. */
  readonly runState: string;
  /** The guest was suspended when the VM was stopped. */
  readonly wasSuspended: boolean;
  readonly ram: readonly InspectedRam[];
  readonly sections: readonly InspectedSection[];
  /** Files of the host that devices depend on. */
  readonly files: readonly FileFacts[];
}

/**
 * Reads a checkpoint to its end without a VM, and checks all of it: framing, checksums, and the pages of copied RAM.
 *
 * @throws {CprError} if the URI cannot be read, or the checkpoint is damaged, truncated or of a newer version.
 */
export async function inspectCheckpoint(kernel: Kernel, uri: string): Promise<CheckpointInspection> {
  return withSource(kernel, uri, async (read) => {
    const nothing = (): void => undefined;
    const checkpoint = await readCheckpoint(read, { configuration: nothing, blocks: nothing, page: nothing });
    const pages: number[] = [];
    for (const [index, block] of checkpoint.head.blocks.entries()) {
      const { mapped } = block;
      pages.push(
        mapped === undefined
          ? (checkpoint.head.pages[index] as number)
          : await checkMappedPages(read, { ...block, mapped }, checkpoint),
      );
    }
    return describe(uri, checkpoint, pages);
  });
}

/**
 * Reads the beginning of a checkpoint: which machine it is of, and which capabilities loading it needs.
 *
 * @throws {CprError} if the URI cannot be read, or there is no checkpoint.
 */
export async function inspectConfiguration(kernel: Kernel, uri: string): Promise<StreamConfiguration> {
  return withSource(kernel, uri, readStreamConfiguration);
}

async function withSource<T>(kernel: Kernel, text: string, work: (read: ReadBytes) => Promise<T>): Promise<T> {
  const uri = parseTransportUri(text);
  const transport = await transportFor(kernel, uri);
  if (!transport.supports.stores) {
    throw migrationErrors.ERR_CPR_NOTHING_STORED({ uri: text });
  }
  const { signal } = new AbortController();
  const source: TransportSource = await transport.openSource(uri, { signal });
  let result: T;
  try {
    result = await work(readerOf(source, signal));
  } catch (error) {
    // If the command at the other end failed, that is why the stream is not as it should be.
    await source.close();
    throw error;
  }
  // Whoever reads only the beginning leaves a command with more to say than anyone hears.
  await source.close().catch(() => undefined);
  return result;
}

/** Compares the pages of a block with their checksums. @returns how many there are */
async function checkMappedPages(
  read: ReadBytes,
  { id, size, mapped }: RamBlockEntry & Required<Pick<RamBlockEntry, "mapped">>,
  { facts }: Checkpoint,
): Promise<number> {
  const expected = facts.ram.find((block) => block.id === id)?.chunkChecksums;
  const checksums = new BlockChecksums(id);
  const bitmap = new Uint8Array(bitmapLength(size));
  await readAll(read, bitmap, mapped.bitmapPosition);
  const buffer = new Uint8Array(chunkSize);
  let count = 0;
  for (let offset = 0; offset < size; offset += chunkSize) {
    const bytes = buffer.subarray(0, Math.min(chunkSize, size - offset));
    const pages = Array.from({ length: bytes.length / pageSize }, (_, index) => index * pageSize).filter((at) =>
      hasPage(bitmap, (offset + at) / pageSize),
    );
    if (pages.length > 0) {
      await readAll(read, bytes, mapped.pagesPosition + offset);
    }
    for (const at of pages) {
      checksums.add(offset + at, bytes.subarray(at, at + pageSize));
    }
    count += pages.length;
  }
  for (const [chunk, checksum] of (expected ?? []).entries()) {
    if (checksum !== checksums.of(chunk)) {
      throw damagedChunk(id, chunk * chunkSize);
    }
  }
  return count;
}

async function readAll(read: ReadBytes, buffer: Uint8Array, position: number): Promise<void> {
  const count = await read(buffer, position);
  if (count < buffer.length) {
    throw streamErrors.ERR_CPR_STREAM_TRUNCATED({ position: position + count });
  }
}

function describe(uri: string, checkpoint: Checkpoint, pages: readonly number[]): CheckpointInspection {
  const { head, facts, sections, length } = checkpoint;
  const { machine, capabilities, uuid } = head.configuration;
  const global = sections.find(({ id }) => id === globalStateName);
  if (global === undefined) {
    throw streamErrors.ERR_CPR_STREAM_SECTION_MISSING({ device: globalStateName, instance: 0 });
  }
  const state = decodeState(globalStateName, globalState, global) as StateOf<typeof globalState>;
  const { runState, wasSuspended } = interpretGlobalState(state);
  return {
    uri,
    length,
    format: facts.format,
    machine,
    capabilities,
    ...(uuid === undefined ? {} : { uuid: decodeUuid(uuid) }),
    mode: facts.mode,
    generation: facts.generation,
    ...facts.origin,
    processor: facts.processor,
    runState,
    wasSuspended,
    ram: head.blocks.map(({ id, size, address }, index): InspectedRam => {
      const { inPlace = false, bound = false } = facts.ram.find((block) => block.id === id) ?? {};
      const at = address === undefined ? {} : { address };
      return { id, size, ...at, inPlace, bound, pages: pages[index] as number };
    }),
    sections: sections.map(({ id, instance, version, data, description }) => ({
      name: id,
      instance,
      kind: description.vmsd_name,
      version,
      size: data.length,
      fields: decodeDescribed(description, data),
    })),
    files: facts.files ?? [],
  };
}
