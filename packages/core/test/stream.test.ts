import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type CprError, isCprError } from "../src/index.ts";
import { decodeState } from "../src/state/codec.ts";
import { readCheckpoint } from "../src/stream/checkpoint-reader.ts";
import { StreamWriter, writeChunk } from "../src/stream/stream-writer.ts";
import { encodeTrailer, trailerLength } from "../src/stream/trailer.ts";
import {
  type CheckpointOptions,
  exampleState,
  exampleValues,
  readBack,
  readerOf,
  writeCheckpoint,
} from "./fakes/checkpoints.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const ascii = (text: string): string => Buffer.from(text, "latin1").toString("hex");

/** Gives a changed stream the checksum and length that it should have. */
function reseal(stream: Uint8Array): Uint8Array {
  const body = stream.subarray(0, stream.length - trailerLength);
  const text = Buffer.from(stream.subarray(body.length)).toString("latin1");
  const descriptionLength = Number(/description=(\d+)/.exec(text)?.[1]);
  return Buffer.concat([body, encodeTrailer({ checksum: crc32(body), length: body.length, descriptionLength })]);
}

/** Replaces the first occurrence of some bytes by as many others. */
function replace(stream: Uint8Array, from: string, to: string): Uint8Array {
  const result = Buffer.from(stream);
  const at = result.indexOf(from, 0, "latin1");
  expect(at).toBeGreaterThanOrEqual(0);
  expect(to.length).toBe(from.length);
  result.write(to, at, "latin1");
  return reseal(result);
}

const refusal = (promise: Promise<unknown>): Promise<CprError> =>
  promise.then(
    () => expect.unreachable("it was accepted"),
    (error: unknown) => {
      expect(isCprError(error), String(error)).toBe(true);
      return error as CprError;
    },
  );

describe("a checkpoint", () => {
  it("is QEMU's stream, byte for byte", async () => {
    const ram = new Uint8Array(0x1_0000);
    ram[5] = 1;
    ram[0x1fff] = 2;
    ram[0xf000] = 3;
    const stream = await writeCheckpoint({
      copied: [{ id: "mig.mem", bytes: ram, dataRanges: [[0, 0x1_0000]] }],
      devices: 1,
    });
    const page = (offset: number): string => hex(ram.subarray(offset, offset + 4096));
    const footer = "7e00000000";
    const eos = "0000000000000010";
    const head = [
      "5145564d00000003",
      `070000000f${ascii("cpr-microvm-1.0")}`,
      `010000000003${ascii("ram")}0000000000000004`,
      `000000000001000407${ascii("mig.mem")}0000000000010000${eos}${footer}`,
      `0200000000`,
      `000000000000000807${ascii("mig.mem")}${page(0)}`,
      `0000000000001028${page(0x1000)}`,
      `000000000000f028${page(0xf000)}`,
      `${eos}${footer}`,
      "08000b0000",
      `0300000000${eos}${footer}`,
      `040000000108${ascii("example0")}0000000000000003`,
      "01112233445566778800010002ffff0701020308040506",
      "7e00000001",
      "0006",
    ].join("");
    expect(hex(stream).slice(0, head.length)).toBe(head);
    const at = head.length / 2;
    const jsonLength = Buffer.from(stream).readUInt32BE(at);
    const json = Buffer.from(stream.subarray(at + 4, at + 4 + jsonLength)).toString();
    const description = JSON.parse(json) as { devices: unknown[]; page_size: number; configuration: unknown };
    expect(description.page_size).toBe(4096);
    expect(description.configuration).toEqual({
      vmsd_name: "configuration",
      version: 1,
      fields: [
        { name: "len", type: "uint32", size: 4 },
        { name: "name", type: "buffer", size: 15 },
      ],
    });
    expect(description.devices).toEqual([
      {
        name: "example0",
        instance_id: 0,
        vmsd_name: "example",
        version: 3,
        fields: [
          { name: "flag", type: "bool", size: 1 },
          { name: "number", type: "uint64", size: 8 },
          { name: "list", array_len: 3, type: "uint16", size: 2 },
          {
            name: "queues",
            array_len: 2,
            type: "struct",
            struct: {
              vmsd_name: "queue",
              version: 1,
              fields: [
                { name: "head", type: "uint8", size: 1 },
                { name: "entries", type: "buffer", size: 3 },
              ],
            },
            size: 4,
          },
        ],
      },
    ]);
    const trailer = Buffer.from(stream.subarray(at + 4 + jsonLength)).toString("latin1");
    const body = stream.subarray(0, stream.length - trailerLength);
    const digits = (value: number, width: number): string => String(value).padStart(width, "0");
    expect(trailer).toBe(
      `\n#cpr crc32=${crc32(body).toString(16).padStart(8, "0")} length=${digits(body.length, 16)} description=${digits(jsonLength, 8)}\n`,
    );
  });

  it("says which capabilities shape it, whose it is, and where its RAM lies", async () => {
    const stream = await writeCheckpoint({
      configuration: { capabilities: ["x-ignore-shared"], uuid: new Uint8Array(16).fill(0xab) },
      blocks: [{ id: "mig.mem", size: 0x1_0000, address: 0x1_0000_0000 }],
    });
    const expected = [
      `05${"1a"}${ascii("configuration/capabilities")}0000000100000001${"0f"}${ascii("x-ignore-shared")}`,
      `05${"12"}${ascii("configuration/uuid")}00000001${"ab".repeat(16)}`,
      `010000000003${ascii("ram")}0000000000000004`,
      `000000000001000407${ascii("mig.mem")}00000000000100000000000100000000`,
    ].join("");
    expect(hex(stream)).toContain(expected);
    const { head } = await readBack(stream);
    expect(head.configuration).toEqual({
      machine: "cpr-microvm-1.0",
      capabilities: ["x-ignore-shared"],
      uuid: new Uint8Array(16).fill(0xab),
    });
    expect(head.blocks).toEqual([{ id: "mig.mem", size: 0x1_0000, address: 0x1_0000_0000 }]);
  });

  it("is read back as it was written, in pieces of any size", async () => {
    const ram = new Uint8Array(0x4_0000).map((_, index) => index % 251);
    ram.fill(0, 0x3000, 0x2_0000);
    const blocks = [
      { id: "mig.mem", size: ram.length },
      { id: "other", size: 0x1000 },
    ];
    const stream = await writeCheckpoint({
      blocks,
      copied: [
        { id: "mig.mem", bytes: ram, dataRanges: [[0, ram.length]] },
        { id: "other", bytes: new Uint8Array(0x1000).fill(9), dataRanges: [[0, 0x1000]] },
      ],
      devices: 40,
    });
    for (const pieceSize of [1, 7, 4096, 1 << 20]) {
      const copies = [new Uint8Array(ram.length), new Uint8Array(0x1000)];
      const checkpoint = await readCheckpoint(readerOf(stream, pieceSize), {
        configuration: () => undefined,
        blocks: (received) => expect(received).toEqual(blocks),
        page: (block, offset, contents) => copies[block]?.set(contents ?? new Uint8Array(4096), offset),
      });
      expect(Buffer.compare(copies[0] as Uint8Array, ram)).toBe(0);
      expect(copies[1]).toEqual(new Uint8Array(0x1000).fill(9));
      expect(checkpoint.sections).toHaveLength(40);
      for (const section of checkpoint.sections) {
        expect(decodeState(section.id, exampleState, section)).toEqual(exampleValues);
      }
    }
  });

  it("never has a byte in the length of its description that would mislead QEMU's script", async () => {
    let padded = 0;
    for (let length = 0; length < 300; length++) {
      const stream = await writeCheckpoint({ facts: { mode: "m".repeat(length + 1) } });
      const lastNul = stream.lastIndexOf(0);
      const brace = stream.indexOf(0x7b, lastNul);
      // What the script does: the first brace behind the last NUL has the section's type five bytes before it.
      expect(stream[brace - 5]).toBe(6);
      padded += stream[stream.length - trailerLength - 1] === 0x20 ? 1 : 0;
      await readBack(stream);
    }
    expect(padded).toBeGreaterThan(0);
  });

  it("leaves out what is known to be zero without looking at it", async () => {
    const bytes = new Uint8Array(0x1_0000).fill(1);
    const progress = { scanned: 0, normalPages: 0, zeroPages: 0 };
    const { writeRamPages } = await import("../src/stream/ram-section.ts");
    const pieces: Uint8Array[] = [];
    const writer = new StreamWriter(async (piece) => void pieces.push(piece.slice()));
    const dataRanges = [
      [0x1001, 0x1002],
      [0x1800, 0x2001],
      [0x8000, 0x9000],
    ] as const;
    await writeRamPages(writer, { id: "r", bytes, dataRanges }, { progress, checkpoint: () => undefined });
    await writer.finish();
    const stream = Buffer.concat(pieces);
    expect(stream.length).toBe(3 * (8 + 4096) + 2);
    expect(progress).toEqual({ scanned: 0x1_0000, normalPages: 3, zeroPages: 13 });
    expect(stream.readBigUInt64BE(0)).toBe(0x1008n);
    expect(stream.readBigUInt64BE(8 + 2 + 4096)).toBe(0x2028n);
    expect(stream.readBigUInt64BE(2 * (8 + 4096) + 2)).toBe(0x8028n);
  });
});

describe("a checkpoint that is broken", () => {
  it("is refused with a single bit changed, wherever it is", async () => {
    const ram = new Uint8Array(0x1_0000);
    ram.fill(0x5a, 0, 8);
    const stream = await writeCheckpoint({
      copied: [{ id: "mig.mem", bytes: ram, dataRanges: [[0, 4096]] }],
      configuration: { capabilities: ["x-ignore-shared"] },
      blocks: [{ id: "mig.mem", size: 0x1_0000, address: 0 }],
    });
    const codes = new Map<string, number>();
    for (let position = 0; position < stream.length; position++) {
      const damaged = stream.slice();
      damaged[position] = (damaged[position] as number) ^ (1 << (position % 8));
      const { category, code } = await refusal(readBack(damaged));
      expect(category).toBe("checkpoint");
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    // Only where the stream says what it is can damage look like something else.
    expect([...codes.keys()].sort()).toEqual([
      "ERR_CPR_STREAM_DAMAGED",
      "ERR_CPR_STREAM_MAGIC",
      "ERR_CPR_STREAM_TRUNCATED",
      "ERR_CPR_STREAM_VERSION",
    ]);
    expect(codes.get("ERR_CPR_STREAM_MAGIC")).toBe(4);
    expect(codes.get("ERR_CPR_STREAM_VERSION")).toBe(4);
    // A changed mark of the trailer looks like none.
    expect(codes.get("ERR_CPR_STREAM_TRUNCATED")).toBeLessThan(10);
  });

  it("is refused when it ends early, wherever that is", async () => {
    const stream = await writeCheckpoint({ devices: 2 });
    for (let length = 0; length < stream.length; length++) {
      const { code } = await refusal(readBack(stream.subarray(0, length)));
      expect(["ERR_CPR_STREAM_TRUNCATED", "ERR_CPR_STREAM_DAMAGED"]).toContain(code);
    }
  });

  it("is refused with bytes in it that do not belong there", async () => {
    const stream = await writeCheckpoint();
    for (const at of [8, 60, stream.length - 100, stream.length]) {
      const longer = Buffer.concat([stream.subarray(0, at), Buffer.from([0]), stream.subarray(at)]);
      expect((await refusal(readBack(longer))).category).toBe("checkpoint");
    }
  });

  it.each([
    [
      "is not a stream at all",
      "hello world",
      "ERR_CPR_STREAM_MAGIC",
      "Not a migration stream, magic: 68656c6c != 5145564d",
    ],
    [
      "is of version 2",
      "QEVM\0\0\0\x02",
      "ERR_CPR_STREAM_VERSION",
      "SaveVM v2 format is obsolete and no longer supported",
    ],
    [
      "is of version 4",
      "QEVM\0\0\0\x04",
      "ERR_CPR_STREAM_VERSION",
      "Unsupported migration stream version, file version 4 != 3",
    ],
    ["is empty", "", "ERR_CPR_STREAM_TRUNCATED", "The migration stream is truncated: it ends after 0 bytes"],
  ])("is refused when it %s", async (_what, text, code, message) => {
    const error = await refusal(readBack(Buffer.from(text, "latin1")));
    expect(error).toMatchObject({ code, message });
  });

  it.each<[string, string, string, CheckpointOptions, string]>([
    [
      "a RAM section of a newer version",
      "ram\0\0\0\0\0\0\0\x04",
      "ram\0\0\0\0\0\0\0\x05",
      {},
      "the RAM section: version 5 is too new",
    ],
    ["facts of a newer version", '"format":3', '"format":4', {}, "the checkpoint: version 4 is too new"],
    ["another section before RAM", "\x03ram\0\0\0\0", "\x03rom\0\0\0\0", {}, "Unknown section or instance 'rom' 0"],
    ["an unknown command", "\x08\0\x0b\0\0", "\x08\0\x07\0\0", {}, "unknown command 7"],
    ["an unknown section", "\x04\0\0\0\x01", "\x09\0\0\0\x01", {}, "Unknown section type 9"],
    [
      "a footer of another section",
      "\x7e\0\0\0\x01",
      "\x7e\0\0\0\x02",
      {},
      "Mismatched section id in footer for example0",
    ],
    ["no footer", "\x7e\0\0\0\x01", "\x7f\0\0\0\x01", {}, "Missing section footer for example0"],
    ["a RAM size that is not one", "mig.mem\0\0\0\0\0\x01\0\0", "mig.mem\0\0\0\0\0\x01\0\x01", {}, "impossible size"],
    ["a device that is not described", "example0\0\0\0\0", "exbmple0\0\0\0\0", {}, "lacks section 'exbmple0' 0"],
    ["a description that is not JSON", '"page_size"', '"page_size ', {}, "is not JSON"],
    ["another page size", '"page_size":4096', '"page_size":8192', {}, "pages of 8192 bytes"],
    ["a fact that nobody knows", '"processor":', '"prosessor":', {}, "an unknown key 'cpr.prosessor'"],
    ["something that is not known instead of facts", '"cpr":', '"cpx":', {}, "has an unknown key 'cpx'"],
    ["a section without a name", "\x08example0", "\0example0", {}, "a name has 0 bytes"],
    ["a section with a long name", "\x08example0", "\xc8example0", {}, "a section is longer than the stream"],
    ["a purpose that nobody knows", "restart", "reshart", {}, "does not tell what it was made for"],
    ["a boot that is none", "01234567-89ab", "01234567-89ag", {}, "does not tell what it was made for"],
    ["a writer without a version", '"version":"1.2.3"', '"verzion":"1.2.3"', {}, "does not tell what it was made for"],
    ["a generation that is none", "0123456789abcdef", "0123456789abcdeg", {}, "malformed key 'cpr'"],
    [
      "an unknown subsection",
      "configuration/capabilities",
      "configuration/capabilitiez",
      { configuration: { capabilities: ["x-ignore-shared"] }, blocks: [{ id: "m", size: 4096, address: 0 }] },
      "VM subsection 'configuration/capabilitiez' in 'configuration' does not exist",
    ],
    ["a device listed twice", '"name":"example1"', '"name":"example0"', { devices: 2 }, "lists a device twice"],
  ])("is refused with %s, although its checksum is right", async (_what, from, to, options, message) => {
    const stream = replace(await writeCheckpoint(options), from, to);
    expect((await refusal(readBack(stream))).message).toContain(message);
  });

  it.each([
    ["a page outside of its block", "\0\0\0\0\0\x01\0\x08\x07mig.mem", "Illegal RAM offset"],
    ["a page of an unknown block", "\0\0\0\0\0\0\0\x08\x07mig.mom", "Can't find block mig.mom"],
    ["a page of the same block as none", "\0\0\0\0\0\0\0\x28\x07mig.mem", "Ack, bad migration stream!"],
    ["an unknown record", "\0\0\0\0\0\0\0\x48\x07mig.mem", "Unknown combination of migration flags: 0x48"],
    ["a zero page that is not zero", "\0\0\0\0\0\0\0\x02\x07mig.mem", "Found a zero page with value 90"],
  ])("is refused with %s", async (_what, record, message) => {
    const ram = new Uint8Array(0x1_0000).fill(0x5a, 0, 4096);
    const stream = await writeCheckpoint({ copied: [{ id: "mig.mem", bytes: ram, dataRanges: [[0, 4096]] }] });
    const broken = replace(stream, "\0\0\0\0\0\0\0\x08\x07mig.mem", record);
    expect((await refusal(readBack(broken))).message).toContain(message);
  });

  it("names the section or the piece of RAM that is damaged", async () => {
    const ram = new Uint8Array(0x30_0000);
    ram[0x20_1000] = 0x77;
    const stream = await writeCheckpoint({
      blocks: [{ id: "mig.mem", size: ram.length }],
      copied: [{ id: "mig.mem", bytes: ram, dataRanges: [[0, ram.length]] }],
      devices: 2,
    });
    const inPage = Buffer.from(stream);
    inPage[inPage.indexOf(0x77)] = 0x76;
    expect((await refusal(readBack(inPage))).message).toBe(
      "The migration stream is damaged: RAM block 'mig.mem' is not what was written, in the 1048576 bytes at offset 0x200000",
    );
    const inSection = Buffer.from(stream);
    const at = inSection.indexOf("example1", 0, "latin1") + "example1".length + 8 + 1;
    inSection[at] = (inSection[at] as number) ^ 1;
    expect((await refusal(readBack(inSection))).message).toBe(
      "The migration stream is damaged: section 'example1' 0 is not what was written",
    );
  });

  it("is refused with the states of two devices exchanged, although its checksum is right", async () => {
    const stream = Buffer.from(await writeCheckpoint({ devices: 2 }));
    const [first, second] = ["example0", "example1"].map((name) => stream.indexOf(name, 0, "latin1")) as [
      number,
      number,
    ];
    stream.write("example1", first, "latin1");
    stream.write("example0", second, "latin1");
    expect((await refusal(readBack(reseal(stream)))).message).toContain("section 'example1' 0 is not what was written");
  });

  it("is called damaged if its checksum is wrong, whatever its bytes seem to say", async () => {
    const stream = await writeCheckpoint();
    const damaged = Buffer.from(stream);
    damaged.write("pc", damaged.indexOf("cpr-microvm"), "latin1");
    const refuse = () => {
      throw new Error("another machine");
    };
    expect((await refusal(readBack(damaged))).code).toBe("ERR_CPR_STREAM_DAMAGED");
    // Something that is no error of a checkpoint is told at once.
    await expect(readBack(damaged, { configuration: refuse })).rejects.toThrow("another machine");
  });

  it("may hold records of zero pages, as QEMU writes them", async () => {
    const stream = await writeCheckpoint();
    const at = Buffer.from(stream).indexOf("\x03\0\0\0\0", 0, "latin1") + 5;
    const records = Buffer.from("\0\0\0\0\0\0\x30\x02\x07mig.mem\0\0\0\0\0\0\0\x40\x22\0", "latin1");
    const longer = reseal(Buffer.concat([stream.subarray(0, at), records, stream.subarray(at)]));
    const pages: unknown[] = [];
    await readBack(longer, { page: (...page) => void pages.push(page) });
    expect(pages).toEqual([
      [0, 0x3000, undefined],
      [0, 0x4000, undefined],
    ]);
  });
});

describe("the writer of a stream", () => {
  it("writes a small stream at once", async () => {
    const pieces: number[] = [];
    const writer = new StreamWriter(async (piece) => void pieces.push(piece.length));
    for (let index = 0; index < 90_000; index++) {
      writer.u8(index);
    }
    await writer.finish();
    expect(pieces).toEqual([90_000]);
  });

  it("fills one buffer while the other is written, and keeps the order", async () => {
    const written: Uint8Array[] = [];
    let release: (() => void) | undefined;
    const writer = new StreamWriter(
      (piece) =>
        new Promise((resolve) => {
          release = () => {
            written.push(piece.slice());
            resolve();
          };
        }),
    );
    const chunk = new Uint8Array(writeChunk).fill(1);
    writer.bytes(chunk);
    await writer.flush();
    writer.bytes(chunk.fill(2));
    expect(writer.position).toBe(2 * writeChunk);
    const second = writer.flush();
    release?.();
    await second;
    release?.();
    writer.u64(3);
    const finished = writer.finish();
    await new Promise((resolve) => setImmediate(resolve));
    release?.();
    await finished;
    expect(written.map((piece) => [piece.length, piece[7]])).toEqual([
      [writeChunk, 1],
      [writeChunk, 2],
      [8, 3],
    ]);
    expect(writer.checksum()).toBe(crc32(Buffer.concat(written)));
  });

  it("tells of a failure at the next opportunity", async () => {
    const writer = new StreamWriter(() => Promise.reject(new Error("full")));
    writer.u8(1);
    await writer.flush();
    writer.u8(2);
    await expect(writer.finish()).rejects.toThrow("full");
  });
});
