import { readFileSync } from "node:fs";
import { Decoder, DecoderOptions } from "iced-x86";
import { codeAt, imagePages, imageSize, pageSize } from "./address-space.ts";
import { differences, type HostFacts } from "./comparison.ts";
import { FastRandom } from "./fast-random.ts";
import { GuestSequences } from "./guest-sequences.ts";
import { codeFrom, placeCode, randomImage, removeCode } from "./image.ts";
import { isOrdinary } from "./instruction-forms.ts";
import { type NativeOutcome, NativeSequences } from "./native-sequences.ts";
import { describeSequence } from "./report.ts";
import { type Outcome, type Sequence, undefinedFlags, withoutGroups } from "./sequence.ts";
import { SequenceGenerator } from "./sequence-generator.ts";

/** What a run is to do. */
export interface DifferentialOptions {
  readonly seed: number;
  /** Ends after so many batches, or when `until` says so. */
  readonly batches?: number;
  readonly until?: () => boolean;
  /** Sequences in a batch, which share what is in memory. */
  readonly batchSize?: number;
  /** Ends with so many differences. */
  readonly mostReports?: number;
  /** Changes what the interpreter did: for a test of the comparison itself. */
  readonly tamper?: (sequence: Sequence, outcome: Outcome) => void;
  readonly onReport?: (report: string) => void;
  readonly onBatch?: (sofar: DifferentialResult) => void;
}

/** What a run found. */
export interface DifferentialResult {
  sequences: number;
  /** Executed by the interpreter. */
  instructions: number;
  /** Sequences that neither the host nor the interpreter ended, and those that jumped into a system call. */
  passedOver: number;
  /** How many sequences ended with which exception; 6 is the end of those that met none. */
  readonly vectors: Map<number, number>;
  readonly reports: string[];
}

interface Batch {
  readonly number: number;
  readonly image: Uint8Array;
  readonly sequences: readonly Sequence[];
  readonly outcomes: Promise<NativeOutcome[]>;
}

const nothing: ReadonlySet<number> = new Set();
/** One sequence of so many is executed one instruction at a time as well. */
const stepEvery = 16;

/** Executes random sequences natively and in the interpreter, and compares. */
class Differential {
  readonly #native: NativeSequences;
  readonly #guest = new GuestSequences();
  readonly #host: HostFacts;
  readonly #tamper: NonNullable<DifferentialOptions["tamper"]>;
  readonly #expected = new Uint8Array(imageSize);
  readonly #expectedCells = new BigUint64Array(this.#expected.buffer);
  #image: Uint8Array = this.#expected;
  #codes: ReadonlySet<number> = new Set();
  /** What is where the last sequence ended, if that is in the pages of code. */
  #endBytes: Uint8Array = new Uint8Array(0);

  private constructor(native: NativeSequences, host: HostFacts, tamper: DifferentialOptions["tamper"]) {
    this.#native = native;
    this.#host = host;
    this.#tamper = tamper ?? (() => undefined);
  }

  static async create(tamper: DifferentialOptions["tamper"]): Promise<Differential> {
    const native = new NativeSequences();
    const isAmd = readFileSync("/proc/cpuinfo", "utf8").includes("AuthenticAMD");
    const executes32 = await native.executes32();
    if (!executes32) console.error("NOTE: this host executes no 32-bit code, so only 64-bit code is compared with it.");
    return new Differential(native, { isAmd, executes32 }, tamper);
  }

  batch(seed: number, number: number, size: number): Batch {
    const random = new FastRandom(Math.imul(seed, 0x9e3779b1) + number);
    const generator = new SequenceGenerator(random, this.#host);
    this.#codes = generator.codes;
    const image = randomImage(random);
    const sequences = Array.from({ length: size }, () => generator.next());
    return { number, image, sequences, outcomes: this.#native.run(image, sequences) };
  }

  useImage(image: Uint8Array): void {
    this.#image = image;
    this.#guest.memory.set(image);
    this.#expected.set(image);
  }

  get executed(): number {
    return this.#guest.executed;
  }

  /** What differs when the interpreter executes a sequence. */
  compare(sequence: Sequence, removed: ReadonlySet<number>, wanted: NativeOutcome, stepwise: boolean): string[] {
    const actual = this.#guest.run(sequence, stepwise);
    this.#tamper(sequence, actual);
    const found = differences(sequence, removed, wanted, actual, this.#host);
    const { memory } = this.#guest;
    const cells = wanted.differences;
    placeCode(this.#expected, sequence.codeOffset, sequence.code);
    const before = new BigUint64Array(cells.length / 2);
    for (let index = 0; index < cells.length; index += 2) {
      const cell = Number(cells[index]);
      before[index / 2] = this.#expectedCells[cell] as bigint;
      this.#expectedCells[cell] = cells[index + 1] as bigint;
    }
    this.#endBytes = codeFrom(this.#expected, Number(wanted.rip) - codeAt);
    if (!wanted.endless && !actual.endless && Buffer.compare(this.#expected, memory) !== 0) {
      found.push(...describeMemory(this.#expected, memory));
    }
    for (let index = 0; index < cells.length; index += 2)
      this.#expectedCells[Number(cells[index])] = before[index / 2] as bigint;
    removeCode(this.#expected, sequence.codeOffset, sequence.code.length);
    if (found.length > 0 || actual.endless) memory.set(this.#image);
    else {
      const image = new BigUint64Array(this.#image.buffer);
      const now = new BigUint64Array(memory.buffer, memory.byteOffset, imageSize / 8);
      for (let index = 0; index < cells.length; index += 2) {
        const cell = Number(cells[index]);
        now[cell] = image[cell] as bigint;
      }
      this.#guest.remove(sequence);
    }
    return found;
  }

  /**
   * Whether a sequence is no test, because it comes to instructions that the generator has not written: by a jump into the
   * middle of one, or by a store. They may not be the CPU model's, or read flags that are undefined.
   */
  #isStrange(sequence: Sequence): boolean {
    let strange = false;
    const lengths = new Map(sequence.items.map(({ offset, length }) => [offset, length]));
    lengths.set(sequence.code.length - 2, 2);
    const hasUndefined = sequence.items.some(({ flagsUndefined }) => flagsUndefined !== 0);
    const { memory } = this.#guest;
    this.#guest.trace(sequence, (rip) => {
      const bytes = codeFrom(memory, rip - codeAt);
      if (strange || bytes.length === 0) return;
      const decoder = new Decoder(sequence.bitness, bytes, DecoderOptions.None);
      const instruction = decoder.decode();
      strange = !isOrdinary(instruction, this.#codes);
      const offset = rip - codeAt - sequence.codeOffset;
      const length = lengths.get(offset) ?? 0;
      const written = sequence.code.subarray(offset, offset + length);
      if (hasUndefined && Buffer.compare(written, bytes.subarray(0, Math.max(length, 1))) !== 0) strange = true;
      instruction.free();
      decoder.free();
    });
    memory.set(this.#image);
    return strange;
  }

  /** Leaves out instructions as long as a difference remains, and describes what is left. undefined: it is no test. */
  async report(sequence: Sequence, stepwise: boolean, label: string): Promise<string | undefined> {
    if (this.#isStrange(sequence)) return undefined;
    let removed: ReadonlySet<number> = nothing;
    const groups = [...new Set(sequence.items.map((item) => item.group))].reverse();
    for (const chunk of [8, 4, 2, 1, 1]) {
      for (let at = 0; at < groups.length; at += chunk) {
        const fewer = new Set([...removed, ...groups.slice(at, at + chunk)]);
        if (fewer.size === removed.size || undefinedFlags(sequence, fewer) === undefined) continue;
        const candidate = withoutGroups(sequence, fewer);
        const [wanted] = await this.#native.run(this.#image, [candidate]);
        if (wanted === undefined || wanted.endless || wanted.systemCall) continue;
        if (this.compare(candidate, fewer, wanted, stepwise).length > 0) removed = fewer;
      }
    }
    const smallest = withoutGroups(sequence, removed);
    const [wanted] = await this.#native.run(this.#image, [smallest]);
    if (wanted === undefined) throw new Error("the native runner gave no outcome");
    const found = this.compare(smallest, removed, wanted, stepwise);
    return describeSequence(label, smallest, removed, wanted, this.#endBytes, found);
  }

  [Symbol.dispose](): void {
    this.#native[Symbol.dispose]();
  }
}

function describeMemory(wanted: Uint8Array, actual: Uint8Array): string[] {
  const found: string[] = [];
  for (let at = 0; at < imageSize && found.length < 6; at += 8) {
    const [expected, got] = [wanted, actual].map((image) => Buffer.from(image.subarray(at, at + 8)).toString("hex"));
    const linear = (imagePages[Math.floor(at / pageSize)]?.linear ?? 0) + (at % pageSize);
    if (expected !== got) found.push(`memory at ${linear.toString(16)}: expected ${expected}, got ${got}`);
  }
  return found;
}

/** Compares until the options say that it is enough. */
export async function runDifferential(options: DifferentialOptions): Promise<DifferentialResult> {
  const { seed, batches = Number.POSITIVE_INFINITY, until = () => false, batchSize = 2000, mostReports = 5 } = options;
  using differential = await Differential.create(options.tamper);
  const result: DifferentialResult = { sequences: 0, instructions: 0, passedOver: 0, vectors: new Map(), reports: [] };
  let next: Batch | undefined = differential.batch(seed, 0, batchSize);
  while (next !== undefined && result.reports.length < mostReports) {
    const { number, image, sequences, outcomes }: Batch = next;
    const found = await outcomes;
    // The host's processor executes the next batch while the interpreter executes this one.
    next = number + 1 < batches && !until() ? differential.batch(seed, number + 1, batchSize) : undefined;
    differential.useImage(image);
    const suspicious: { readonly index: number; readonly stepwise: boolean }[] = [];
    sequences.forEach((sequence, index) => {
      const wanted = found[index] as NativeOutcome;
      result.sequences++;
      result.vectors.set(wanted.vector, (result.vectors.get(wanted.vector) ?? 0) + 1);
      if (wanted.systemCall) {
        result.passedOver++;
        return;
      }
      const start = differential.executed;
      if (differential.compare(sequence, nothing, wanted, false).length > 0) {
        suspicious.push({ index, stepwise: false });
      } else if (index % stepEvery === 0 && !wanted.endless) {
        const inBlocks = differential.executed - start;
        const differs = differential.compare(sequence, nothing, wanted, true).length > 0;
        const oneByOne = differential.executed - start - inBlocks;
        if (differs) suspicious.push({ index, stepwise: true });
        if (oneByOne !== inBlocks) {
          const label = `seed ${seed}, batch ${number}, sequence ${index}`;
          result.reports.push(`${label}: counts ${inBlocks} instructions in blocks, but ${oneByOne} one by one`);
        }
      }
    });
    result.instructions = differential.executed;
    if (suspicious.length > 0) {
      // The child must have answered before it is asked again.
      await next?.outcomes;
      for (const { index, stepwise } of suspicious.slice(0, mostReports - result.reports.length)) {
        const label = `seed ${seed}, batch ${number}, sequence ${index}${stepwise ? ", one instruction at a time" : ""}`;
        const report = await differential.report(sequences[index] as Sequence, stepwise, label);
        if (report === undefined) {
          result.passedOver++;
          continue;
        }
        result.reports.push(report);
        options.onReport?.(report);
      }
    }
    options.onBatch?.(result);
  }
  return result;
}
