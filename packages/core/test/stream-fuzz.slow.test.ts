import { describe, expect, it } from "vitest";
import { isCprError } from "../src/index.ts";
import { readCheckpoint } from "../src/stream/checkpoint-reader.ts";
import { readerAt, writeCheckpoint, writeMappedCheckpoint } from "./fakes/checkpoints.ts";
import { asFormat1, Chance, type MutableStream, mutate, redescribe, rehead } from "./fakes/mutations.ts";

const ram = new Uint8Array(0x11_0000);
for (const page of [0, 3, 260]) ram.fill(0x5a, page * 4096, page * 4096 + 100);
const block = { id: "mig.mem", size: ram.length };
const capabilities = ["x-ignore-shared"];

const plain = async (): Promise<MutableStream> => ({
  bytes: await writeCheckpoint({
    blocks: [block],
    copied: [{ id: "mig.mem", bytes: ram, dataRanges: [[0, ram.length]] }],
    devices: 2,
  }),
});

const inPlace = async (): Promise<MutableStream> => ({
  bytes: await writeCheckpoint({
    configuration: { capabilities, uuid: new Uint8Array(16).fill(7) },
    blocks: [{ ...block, address: 0 }],
    facts: { files: [{ id: "disk0", path: "/disk", size: 1, modified: "1", inode: "1" }] },
  }),
});

describe("what a forger makes of a checkpoint", () => {
  it.each([
    ["with RAM in it", plain],
    ["with RAM in place", inPlace],
    ["with mapped-ram", () => writeMappedCheckpoint(block.id, ram)],
    ["of format 1", async () => ({ bytes: asFormat1(await plain()) })],
  ])("%s is read or refused, and never anything else", async (_what, make) => {
    const stream = await make();
    const accept = { configuration: () => undefined, blocks: () => undefined, page: () => undefined };
    await readCheckpoint(readerAt(stream.bytes), accept);
    const messages = new Set<string>();
    for (let seed = 0; seed < 1500; seed++) {
      const forged = mutate(stream, new Chance(seed));
      await readCheckpoint(readerAt(forged), accept).catch((error: unknown) => {
        expect(isCprError(error), `seed ${seed}: ${String(error)}`).toBe(true);
        expect(error).toMatchObject({ category: "checkpoint" });
        messages.add((error as Error).message.replace(/[0-9]+|'.*'/g, "_"));
      });
    }
    // What is changed is looked at: there are many reasons for which a stream is refused.
    expect(messages.size).toBeGreaterThan(15);
  });
});

describe("a checkpoint is refused, although its checksum is right, because of", () => {
  const refusal = (forged: Uint8Array): Promise<unknown> =>
    readCheckpoint(readerAt(forged), {
      configuration: () => undefined,
      blocks: () => undefined,
      page: () => undefined,
    });

  it.each([
    ["no facts", /,"cpr":.*\}$/, "}", "lacks the key 'cpr': the stream is not of this program"],
    ["something else than facts", '"cpr":', '"newer":1,"cpr":', "has an unknown key 'newer'"],
    ["a fact about RAM", '"bound":', '"seal":1,"bound":', "has an unknown key 'cpr.ram.seal'"],
    ["a fact about the writer", '"program":', '"host":1,"program":', "has an unknown key 'cpr.writer.host'"],
    ["a fact about the processor", '"model":', '"stepping":1,"model":', "has an unknown key 'cpr.processor.stepping'"],
    ["a format that is no number of one", /"format":\d/, '"format":1.5', "lacks 'cpr.format'"],
    ["another size of RAM", '"size":1114112,"inPlace"', '"size":1052672,"inPlace"', "says 1052672 bytes of RAM block"],
    ["too many checksums", '"sections":[', '"sections":["00000000",', "not one checksum for each section"],
    ["no checksums", /,"sections":\[.*?\]/, "", "lacks the checksums of the sections"],
    ["no checksums of RAM", /,"chunks":".*?"/, "", "lacks the checksums of RAM block 'mig.mem'"],
    [
      "a subsection of a device",
      '"vmsd_name":"example"',
      '"subsections":[],"vmsd_name":"example"',
      "has the device 'example0', which has the unknown key 'subsections'",
    ],
    [
      "a field in an unknown form",
      '"name":"flag"',
      '"index":1,"name":"flag"',
      "has the field 'flag' with the unknown key 'index'",
    ],
  ])("%s", async (_what, from, to, message) => {
    await expect(refusal(redescribe(await plain(), from, to))).rejects.toThrow(message);
  });

  it("format 1 with mapped-ram, which had no checksums of pages", async () => {
    const stream = await writeMappedCheckpoint(block.id, ram);
    await expect(refusal(asFormat1(stream))).rejects.toThrow("lacks the checksums of RAM block 'mig.mem'");
  });

  it.each([
    ["a subsection that is not known", "ation/uuid", "ation/uuix", "VM subsection 'configuration/uuix' in"],
    ["a newer subsection", "uuid\0\0\0\x01", "uuid\0\0\0\x02", "configuration/uuid: version 2 is too new"],
    ["an older subsection", "uuid\0\0\0\x01", "uuid\0\0\0\0", "unsupported version 0 of 'configuration/uuid'"],
    [
      "a newer mapped-ram",
      "\0\0\0\x01\0\0\0\0\0\0\x10",
      "\0\0\0\x02\0\0\0\0\0\0\x10",
      "mapped-ram: version 2 is too new",
    ],
    ["a block without a name", "\x07mig.mem", "\0mig.mem", "a name has 0 bytes"],
    ["a block with a long name", "\x07mig.mem", "\x80mig.mem", "a name has 128 bytes"],
  ])("%s, with mapped-ram", async (_what, from, to, message) => {
    await expect(refusal(rehead(await writeMappedCheckpoint(block.id, ram), from, to))).rejects.toThrow(message);
  });
});
