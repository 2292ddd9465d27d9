import { array, bool, bytes, defineState, struct, u8, u16, u64 } from "../../src/index.ts";
import { encodeState } from "../../src/state/codec.ts";
import { type Checkpoint, type CheckpointVisitor, readCheckpoint } from "../../src/stream/checkpoint-reader.ts";
import { CheckpointWriter } from "../../src/stream/checkpoint-writer.ts";
import type { StreamConfiguration } from "../../src/stream/configuration-section.ts";
import { type CheckpointFacts, factsFormat } from "../../src/stream/description-section.ts";
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
    format: factsFormat,
    mode: "keeping",
    generation: "0123456789abcdef0123456789abcdef",
    processor: { model: "counter", count: 1 },
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
