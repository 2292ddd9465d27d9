import { array, bool, bytes, defineState, struct, u8, u16, u64 } from "../../src/index.ts";
import { pagesIn, removePage } from "../../src/ram-copy/page-bitmap.ts";
import { encodeState } from "../../src/state/codec.ts";
import { type Checkpoint, type CheckpointVisitor, readCheckpoint } from "../../src/stream/checkpoint-reader.ts";
import { CheckpointWriter, type MappedBlock } from "../../src/stream/checkpoint-writer.ts";
import { BlockChecksums } from "../../src/stream/chunk-checksum.ts";
import type { StreamConfiguration } from "../../src/stream/configuration-section.ts";
import { type CheckpointFacts, factsFormat } from "../../src/stream/description-section.ts";
import { pageSize } from "../../src/stream/format.ts";
import type { RamBlockContents, RamBlockEntry } from "../../src/stream/ram-section.ts";

export const queueState = defineState("queue", 1, { head: u8, entries: bytes(3) });

/** A state with a field of each kind. */
export const exampleState = defineState("example", 3, {
  flag: bool,
  number: u64,
  list: array(u16, 3),
  queues: array(struct(queueState), 2),
});

export const exampleValues = {
  flag: true,
  number: 0x1122_3344_5566_7788n,
  list: [1, 2, 0xffff],
  queues: [
    { head: 7, entries: Uint8Array.of(1, 2, 3) },
    { head: 8, entries: Uint8Array.of(4, 5, 6) },
  ],
};

export interface CheckpointOptions {
  readonly configuration?: Partial<StreamConfiguration>;
  readonly blocks?: readonly RamBlockEntry[];
  readonly copied?: readonly RamBlockContents[];
  readonly facts?: Partial<CheckpointFacts>;
  /** How many devices of the example's kind there are. */
  readonly devices?: number;
}

const exampleFacts: Omit<CheckpointFacts, "ram"> = {
  format: factsFormat,
  mode: "keeping",
  generation: "0123456789abcdef0123456789abcdef",
  origin: {
    purpose: "restart",
    bootId: "01234567-89ab-cdef-0123-456789abcdef",
    writer: { program: "cpr", version: "1.2.3" },
  },
  processor: { model: "counter", count: 1 },
};

/** Writes a small checkpoint. */
export async function writeCheckpoint(options: CheckpointOptions = {}): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const writer = new CheckpointWriter(async (piece) => void pieces.push(piece.slice()), {
    machine: "cpr-microvm-1.0",
    capabilities: [],
    ...options.configuration,
  });
  writer.writeHeader();
  await writer.writeRam(options.blocks ?? [{ id: "mig.mem", size: 0x1_0000 }], options.copied ?? [], {
    progress: { scanned: 0, normalPages: 0, zeroPages: 0 },
    checkpoint: () => undefined,
  });
  for (let device = 0; device < (options.devices ?? 1); device++) {
    const id = `example${device}`;
    writer.writeSection({ id, instance: 0, ...encodeState(id, exampleState, exampleValues) });
  }
  const length = await writer.finish({
    ...exampleFacts,
    ram: (options.blocks ?? [{ id: "mig.mem", size: 0x1_0000 }]).map(({ id, size }) => ({
      id,
      size,
      inPlace: options.copied?.some((block) => block.id === id) !== true,
      bound: false,
    })),
    ...options.facts,
  });
  const stream = new Uint8Array(Buffer.concat(pieces));
  if (stream.length !== length) {
    throw new Error(`the writer says ${length} bytes, but wrote ${stream.length}`);
  }
  return stream;
}

/** Writes a checkpoint with mapped-ram and one block, whose pages are where threads would have put them. */
export async function writeMappedCheckpoint(
  id: string,
  ram: Uint8Array,
): Promise<{ bytes: Uint8Array; apart: readonly [number, number] }> {
  let bytes: Uint8Array = new Uint8Array();
  const put = async (piece: Uint8Array, position: number): Promise<void> => {
    const larger = new Uint8Array(Math.max(bytes.length, position + piece.length));
    larger.set(bytes);
    larger.set(piece, position);
    bytes = larger;
  };
  const writer = new CheckpointWriter(put, {
    machine: "cpr-microvm-1.0",
    capabilities: ["mapped-ram"],
    uuid: new Uint8Array(16),
  });
  writer.writeHeader();
  let apart: readonly [number, number] = [0, 0];
  await writer.writeMappedRam([{ id, size: ram.length }], new Set([id]), 0, async ([block]) => {
    const { bitmapPosition, pagesPosition } = (block as MappedBlock).mapped;
    apart = [bitmapPosition, pagesPosition + ram.length];
    const bitmap = pagesIn([[0, ram.length]], ram.length);
    const checksums = new BlockChecksums(id);
    for (let offset = 0; offset < ram.length; offset += pageSize) {
      const page = ram.subarray(offset, offset + pageSize);
      if (page.every((byte) => byte === 0)) {
        removePage(bitmap, offset / pageSize);
      } else {
        await put(page, pagesPosition + offset);
        checksums.add(offset, page);
      }
    }
    return [{ bitmap: bitmap.slice(), chunkChecksums: checksums.all(ram.length) }];
  });
  writer.writeSection({ id: "example0", instance: 0, ...encodeState("example0", exampleState, exampleValues) });
  await writer.finish({ ...exampleFacts, ram: [{ id, size: ram.length, inPlace: false, bound: false }] });
  return { bytes, apart };
}

/** Reads from an array, where it is told to. */
export function readerAt(stream: Uint8Array) {
  return async (buffer: Uint8Array, position: number): Promise<number> => {
    const piece = stream.subarray(position, position + buffer.length);
    buffer.set(piece);
    return piece.length;
  };
}

/** Reads from an array, in pieces of a given size. */
export function readerOf(stream: Uint8Array, pieceSize = Number.POSITIVE_INFINITY) {
  let position = 0;
  return async (buffer: Uint8Array): Promise<number> => {
    const piece = stream.subarray(position, position + Math.min(buffer.length, pieceSize));
    buffer.set(piece);
    position += piece.length;
    return piece.length;
  };
}

/** Reads a checkpoint from an array; pages are ignored. */
export function readBack(stream: Uint8Array, visitor: Partial<CheckpointVisitor> = {}): Promise<Checkpoint> {
  return readCheckpoint(readerOf(stream), {
    configuration: () => undefined,
    blocks: () => undefined,
    page: () => undefined,
    ...visitor,
  });
}
