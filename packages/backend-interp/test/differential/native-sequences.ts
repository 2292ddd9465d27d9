import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { codeAt, codeSize, imageSize } from "./address-space.ts";
import { mediaAt, mediaSize, type Outcome, type Sequence } from "./sequence.ts";

const requestSize = 1056;
const outcomeSize = 584;
const at = { registers: 16, rip: 144, flags: 152, media: 160, code: 160 + mediaSize } as const;
const outcomeAt = { registers: 16, rip: 144, flags: 152, faultAddress: 160, media: 168 } as const;
const kind = { sequence: 0, image: 1, flush: 2 } as const;
const selectors = { 32: 0x23, 64: 0x33 } as const;
/** UD2, and the exception that it raises. */
const undefinedInstruction = Uint8Array.of(0x0f, 0x0b);
const invalidOpcode = 6;
const signals = { alarm: 14, systemCall: 31 } as const;

/** What a sequence did natively; memory as the eight-byte cells of the image that changed. */
export interface NativeOutcome extends Outcome {
  /** Cell number and value, in turn. */
  readonly differences: BigUint64Array;
}

/** Compiles test/native/run-sequences.cpp and executes sequences on this machine's processor. */
export class NativeSequences {
  readonly #folder = mkdtempSync(join(tmpdir(), "native-sequences-"));
  readonly #child: ChildProcess;
  #received = Buffer.alloc(1 << 20);
  #length = 0;
  #wake: () => void = () => undefined;
  #ended = "";

  constructor() {
    const source = fileURLToPath(new URL("../native/run-sequences.cpp", import.meta.url));
    const program = join(this.#folder, "run-sequences");
    execFileSync("g++", ["-O1", "-std=c++17", "-fno-stack-protector", "-o", program, source], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    this.#child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.on("data", (chunk: Uint8Array) => {
      const length = this.#length + chunk.length;
      if (length > this.#received.length) {
        const larger = Buffer.alloc(2 * length);
        larger.set(this.#received.subarray(0, this.#length));
        this.#received = larger;
      }
      this.#received.set(chunk, this.#length);
      this.#length = length;
      this.#wake();
    });
    this.#child.on("exit", (status, signal) => {
      this.#ended = `run-sequences ended with ${status ?? signal}`;
      this.#wake();
    });
    // What it did not read is told by its end.
    this.#child.stdin?.on("error", () => undefined);
  }

  /** Whether this machine lets a process execute 32-bit code: a kernel may have been built, or told, not to. */
  async executes32(): Promise<boolean> {
    const media = new Uint8Array(mediaSize);
    const view = new DataView(media.buffer);
    view.setUint16(mediaAt.control, 0x37f, true);
    view.setUint16(mediaAt.mxcsr, 0x1f80, true);
    const [outcome] = await this.run(new Uint8Array(imageSize), [
      {
        ...{ bitness: 32, codeOffset: 0, code: undefinedInstruction, items: [], flags: 2, media },
        registers: new Uint32Array(32),
      },
    ]);
    return outcome?.vector === invalidOpcode;
  }

  /** Executes sequences, all of which find the image in memory. */
  async run(image: Uint8Array, sequences: readonly Sequence[]): Promise<NativeOutcome[]> {
    const size = (sequences.length + 2) * requestSize + imageSize;
    const input = new Uint8Array(size);
    const view = new DataView(input.buffer);
    view.setUint32(0, kind.image, true);
    input.set(image, requestSize);
    let offset = requestSize + imageSize;
    for (const sequence of sequences) {
      view.setUint32(offset, kind.sequence, true);
      view.setUint32(offset + 4, selectors[sequence.bitness], true);
      view.setUint32(offset + 8, sequence.codeOffset, true);
      view.setUint32(offset + 12, sequence.code.length, true);
      input.set(new Uint8Array(sequence.registers.buffer), offset + at.registers);
      view.setUint32(offset + at.rip, codeAt + sequence.codeOffset, true);
      view.setUint32(offset + at.flags, sequence.flags, true);
      input.set(sequence.media, offset + at.media);
      if (sequence.code.length > codeSize) throw new RangeError("a sequence is too long");
      input.set(sequence.code, offset + at.code);
      offset += requestSize;
    }
    view.setUint32(offset, kind.flush, true);
    this.#child.stdin?.write(input);
    // Outcomes are as long as memory has changed.
    let whole = 0;
    let end = 0;
    for (;;) {
      while (whole < sequences.length && end + outcomeSize <= this.#length) {
        const next = end + outcomeSize + 16 * this.#received.readUInt32LE(end + 12);
        if (next > this.#length) break;
        end = next;
        whole++;
      }
      if (whole === sequences.length) break;
      await this.#more();
    }
    const bytes = Uint8Array.from(this.#received.subarray(0, end));
    this.#length = 0;
    return parseOutcomes(bytes, sequences.length);
  }

  /** Waits until more has been received. */
  async #more(): Promise<void> {
    if (this.#ended === "") {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended !== "") throw new Error(this.#ended);
  }

  [Symbol.dispose](): void {
    this.#child.stdin?.end();
    this.#child.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function parseOutcomes(bytes: Uint8Array<ArrayBuffer>, count: number): NativeOutcome[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const outcomes: NativeOutcome[] = [];
  let offset = 0;
  for (let index = 0; index < count; index++) {
    const start = bytes.byteOffset + offset;
    const differences = view.getUint32(offset + 12, true);
    const signal = view.getUint32(offset, true);
    const changes = start + outcomeSize;
    const media = bytes.subarray(offset + outcomeAt.media, offset + outcomeAt.media + mediaSize);
    // Not compared: the last x87 instruction, and which bits MXCSR has.
    media.fill(0, 6, mediaAt.mxcsr).fill(0, mediaAt.mxcsr + 4, mediaAt.stack);
    outcomes.push({
      vector: view.getUint32(offset + 4, true),
      errorCode: view.getUint32(offset + 8, true),
      registers: new Uint32Array(bytes.buffer.slice(start + outcomeAt.registers, start + outcomeAt.rip)),
      rip: view.getBigUint64(offset + outcomeAt.rip, true),
      flags: view.getUint32(offset + outcomeAt.flags, true),
      faultAddress: view.getBigUint64(offset + outcomeAt.faultAddress, true),
      media,
      differences: new BigUint64Array(bytes.buffer.slice(changes, changes + 16 * differences)),
      endless: signal === signals.alarm,
      systemCall: signal === signals.systemCall,
    });
    offset += outcomeSize + 16 * differences;
  }
  return outcomes;
}
