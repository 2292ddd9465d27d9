import { crc32 } from "../../src/stream/crc32.ts";
import { encodeTrailer, trailerLength } from "../../src/stream/trailer.ts";

/** Chance that can be had again: the same seed gives the same numbers (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** An integer from 0 up to below a limit. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * limit);
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

/** A checkpoint that can be changed: with mapped-ram, what is between head and tail has a checksum of its own. */
export interface MutableStream {
  readonly bytes: Uint8Array;
  /** [start, end) of bitmap and pages of mapped-ram. */
  readonly apart?: readonly [number, number];
}

/** Numbers at which something happens. */
const numbers = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0xffffn,
  0x7fff_ffffn,
  0xffff_ffffn,
  1n << 52n,
  1n << 63n,
  (1n << 64n) - 1n,
];

/** Values of JSON that a reader does not expect. */
const values: readonly unknown[] = [
  ...[
    null,
    true,
    -1,
    0,
    0.5,
    1,
    4096,
    2 ** 31,
    2 ** 53,
    1e308,
    "",
    "x",
    "\ud800",
    "a".repeat(300),
    [],
    {},
    [[]],
    [null],
  ],
  ...[{ name: "x" }, { length: 5 }, JSON.parse('{"__proto__":{"x":1}}'), nested(200)],
];

function nested(depth: number): unknown {
  let value: unknown = {};
  for (let level = 0; level < depth; level++) value = { vmsd_name: "n", version: 1, fields: [{ struct: value }] };
  return value;
}

/** Changes something in bytes: their number too, unless it is to be kept. */
function mutateBytes(bytes: Uint8Array, chance: Chance, keepLength: boolean): Uint8Array {
  const result = Buffer.from(bytes);
  const at = chance.below(bytes.length);
  const count = Math.min(1 + chance.below(40), bytes.length - at);
  const width = chance.of([1, 2, 4, 8].filter((each) => at + each <= bytes.length));
  const put = (value: bigint): Buffer => {
    for (let index = 0; index < width; index++) {
      result[at + index] = Number((value >> BigInt(8 * (width - 1 - index))) & 0xffn);
    }
    return result;
  };
  switch (chance.below(keepLength ? 3 : 6)) {
    case 0:
      result[at] = (result[at] as number) ^ (1 << chance.below(8));
      return result;
    case 1:
      return put(chance.of(numbers));
    case 2:
      return put(BigInt(chance.below(0x1_0000)));
    case 3:
      return Buffer.concat([result.subarray(0, at), result.subarray(at + count)]);
    case 4:
      return Buffer.concat([result.subarray(0, at + count), result.subarray(at)]);
    default:
      return Buffer.concat([result.subarray(0, at), Buffer.alloc(count, chance.below(256)), result.subarray(at)]);
  }
}

/** Changes, adds or removes one thing somewhere in a value of JSON. */
function mutateJson(value: unknown, chance: Chance): unknown {
  if (typeof value !== "object" || value === null || chance.below(12) === 0) return chance.of(values);
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  const keys = Object.keys(copy);
  const key = keys.length === 0 ? "0" : chance.of(keys);
  switch (chance.below(12)) {
    case 0:
      delete copy[key];
      break;
    case 1:
      copy[`${key}x`] = copy[key];
      break;
    default:
      copy[key] = mutateJson(copy[key], chance);
  }
  return Array.isArray(value) ? Object.values(copy) : copy;
}

interface Parts {
  /** With mapped-ram: up to the first bitmap. */
  readonly head: Uint8Array;
  readonly middle: Uint8Array;
  readonly states: Uint8Array;
  readonly json: Uint8Array;
}

function partsOf({ bytes, apart = [0, 0] }: MutableStream): Parts {
  const end = bytes.length - trailerLength;
  const length = Number(/description=(\d+)/.exec(Buffer.from(bytes.subarray(end)).toString("latin1"))?.[1]);
  return {
    head: bytes.subarray(0, apart[0]),
    middle: bytes.subarray(...apart),
    states: bytes.subarray(apart[1], end - length - 5),
    json: bytes.subarray(end - length, end),
  };
}

/** Puts a checkpoint together, with length and checksum as they should be. */
function assemble({ head, middle, states, json }: Parts): Uint8Array {
  const prefix = Buffer.alloc(5, 6);
  prefix.writeUInt32BE(json.length, 1);
  const tail = Buffer.concat([states, prefix, json]);
  const length = head.length + middle.length + tail.length;
  const checksum = crc32(tail, crc32(head));
  return Buffer.concat([head, middle, tail, encodeTrailer({ checksum, length, descriptionLength: json.length })]);
}

/** A checkpoint with something changed in it, as a forger would do it and not a disk. */
export function mutate(stream: MutableStream, chance: Chance): Uint8Array {
  const parts = partsOf(stream);
  const { head, states, json } = parts;
  const kind = chance.below(8);
  if (kind < 3) {
    const changed = JSON.stringify(mutateJson(JSON.parse(Buffer.from(json).toString()), chance));
    return assemble({ ...parts, json: Buffer.from(changed) });
  }
  if (kind === 3) return assemble({ ...parts, json: mutateBytes(json, chance, false) });
  if (head.length > 0 && kind < 6) return assemble({ ...parts, head: mutateBytes(head, chance, true) });
  return assemble({ ...parts, states: mutateBytes(states, chance, false) });
}

/** A checkpoint with some text of its vmdescription replaced. */
export function redescribe(stream: MutableStream, from: string | RegExp, to: string): Uint8Array {
  const parts = partsOf(stream);
  const text = Buffer.from(parts.json).toString();
  const changed = text.replace(from, to);
  if (changed === text) throw new Error(`there is no ${from} in ${text}`);
  return assemble({ ...parts, json: Buffer.from(changed) });
}

/** A checkpoint of format 1: nothing in it but the trailer has a checksum, so what is changed is looked at. */
export function asFormat1(stream: MutableStream): Uint8Array {
  const older = redescribe(stream, /"format":\d+/, '"format":1');
  return redescribe({ ...stream, bytes: older }, /,"sections":\[.*?\]/, "");
}

/** A checkpoint with mapped-ram with some text in front of its pages replaced by as many bytes. */
export function rehead(stream: MutableStream, from: string, to: string): Uint8Array {
  const parts = partsOf(stream);
  const head = Buffer.from(parts.head);
  head.write(to, head.indexOf(from, 0, "latin1"), "latin1");
  return assemble({ ...parts, head });
}
