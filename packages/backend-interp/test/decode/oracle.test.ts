import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Workbench } from "../support/decoding.ts";
import { elfText } from "../support/elf-text.ts";
import { compareWithIced } from "../support/iced.ts";

const workbench = new Workbench();

/** Counts of differences, each with the bytes of its first case. */
class Differences {
  readonly #found = new Map<string, { count: number; readonly first: string }>();
  compared = 0;

  compare(code: 16 | 32 | 64, bytes: Uint8Array): void {
    this.compared++;
    const difference = compareWithIced(workbench, code, bytes);
    if (difference === undefined) return;
    const entry = this.#found.get(difference) ?? {
      count: 0,
      first: Buffer.from(bytes.subarray(0, 15)).toString("hex"),
    };
    entry.count++;
    this.#found.set(difference, entry);
  }

  get report(): string[] {
    return [...this.#found].map(([text, { count, first }]) => `${count} × ${text}, as in ${first}`).sort();
  }
}

/** Bytes that lead to the maps and prefixes which plain random bytes rarely reach. */
const leaders = [0x0f, 0x0f, 0x0f, 0x66, 0xf2, 0xf3, 0x48, 0x41, 0xf0, 0x67, 0x64, 0xd9, 0xdb, 0xdf];
const following = [0x38, 0x3a, 0x01, 0xae, 0xc7, 0x00];

const groups = [0x80, 0x8c, 0x8e, 0x8f, 0xc0, 0xc4, 0xc6, 0xd0, 0xf6, 0xf7, 0xfe, 0xff];
for (let opcode = 0xd8; opcode <= 0xdf; opcode++) groups.push(opcode);
const twoByteGroups = [0x00, 0x01, 0x0d, 0x18, 0x1e, 0x20, 0x22, 0x71, 0x72, 0x73, 0xae, 0xba, 0xc7];
const none: number[] = [];

/** xorshift32. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

test.each([16, 32, 64] as const)("random bytes in %i-bit mode decode as iced decodes them", (code) => {
  const differences = new Differences();
  const random = randomNumbers(0x2545_f491 + code);
  for (let round = 0; round < 60_000; round++) {
    const bytes = Uint8Array.from({ length: 16 }, () => random() >>> 9);
    let at = 0;
    while (at < 3 && random() % 3 !== 0) bytes[at++] = leaders[random() % leaders.length] as number;
    if (bytes[at - 1] === 0x0f && random() % 4 === 0) bytes[at] = following[random() % following.length] as number;
    differences.compare(code, bytes);
  }
  expect(differences.report).toEqual([]);
});

test.each([16, 32, 64] as const)("all opcodes of the maps in %i-bit mode, each with many ModRM bytes", (code) => {
  const differences = new Differences();
  const random = randomNumbers(0x1234_5678 + code);
  const prefixes = [[], [0x66], [0xf3], [0xf2], ...(code === 64 ? [[0x48], [0x66, 0x4f]] : [])];
  for (const map of [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]]) {
    for (const prefix of prefixes) {
      for (let opcode = 0; opcode < 256; opcode++) {
        // Groups choose by ModRM: all of it.
        const step = (map.length === 0 ? groups : map.length === 1 ? twoByteGroups : none).includes(opcode) ? 1 : 13;
        for (let modrm = random() % step; modrm < 256; modrm += step) {
          const tail = Array.from({ length: 8 }, () => random() & 0xff);
          differences.compare(code, Uint8Array.from([...prefix, ...map, opcode, modrm, ...tail, 0, 0, 0, 0]));
        }
      }
    }
  }
  expect(differences.report).toEqual([]);
});

test("the code of a real program decodes as iced decodes it", () => {
  // The program that runs this test: tens of megabytes of compiled code.
  const text = elfText(readFileSync(process.execPath));
  expect(text.length).toBeGreaterThan(1_000_000);
  const differences = new Differences();
  let supported = 0;
  for (let start = 0; start < 16; start++) {
    let at = Math.floor((text.length / 16) * start);
    for (let count = 0; count < 10_000 && at + 16 < text.length; count++) {
      const bytes = text.subarray(at, at + 16);
      differences.compare(64, bytes);
      // Instructions beyond the CPU model are stepped over byte by byte: wherever that leads, both must agree.
      const isBad = workbench.decoder.lastMnemonic === "(bad)";
      if (!isBad) supported++;
      at += isBad ? 1 : workbench.lastLength;
    }
  }
  expect(differences.report).toEqual([]);
  expect(supported).toBeGreaterThan(100_000);
});
