import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { codeAt, codeSize, imageSize } from "./address-space.ts";
import { mediaSize, type Outcome, type Sequence } from "./sequence.ts";

const requestSize = 1056;
const outcomeSize = 584;
const at = { registers: 16, rip: 144, flags: 152, media: 160, code: 160 + mediaSize } as const;
const outcomeAt = { registers: 16, rip: 144, flags: 152, faultAddress: 160, media: 168 } as const;
const kind = { sequence: 0, image: 1, flush: 2 } as const;
const selectors = { 32: 0x23, 64: 0x33 } as const;
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
  #received: Uint8Array[] = [];
  #receivedLength = 0;
  #wanted: { readonly enough: (length: number) => boolean; readonly resolve: () => void } | undefined;
  #ended = "";

  constructor() {
    const source = fileURLToPath(new URL("../native/run-sequences.cpp", import.meta.url));
    const program = join(this.#folder, "run-sequences");
    execFileSync("g++", ["-O1", "-std=c++17", "-fno-stack-protector", "-o", program, source], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    this.#child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.on("data", (chunk: Uint8Array) => {
      this.#received.push(chunk);
      this.#receivedLength += chunk.length;
      this.#wake();
    });
    this.#child.on("exit", (status, signal) => {
      this.#ended = `run-sequences ended with ${status ?? signal}`;
      this.#wake();
    });
    // What it did not read is told by its end.
    this.#child.stdin?.on("error", () => undefined);
  }

  #wake(): void {
    const wanted = this.#wanted;
    if (wanted === undefined || (this.#ended === "" && !wanted.enough(this.#receivedLength))) return;
    this.#wanted = undefined;
    wanted.resolve();
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
    let checked = 0;
    let known = 0;
    let bytes = new Uint8Array(0);
    while (checked < sequences.length) {
      bytes = await this.#receive((length) => length >= known + outcomeSize);
      const found = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      while (checked < sequences.length && known + outcomeSize <= bytes.length) {
        const end = known + outcomeSize + 16 * found.getUint32(known + 12, true);
        if (end > bytes.length) break;
        known = end;
        checked++;
      }
      if (checked < sequences.length) await this.#receive((length) => length > bytes.length);
    }
    this.#received = [];
    this.#receivedLength = 0;
    return parseOutcomes(bytes, sequences.length);
  }

  async #receive(enough: (length: number) => boolean): Promise<Uint8Array<ArrayBuffer>> {
    if (!enough(this.#receivedLength)) {
      await new Promise<void>((resolve) => {
        this.#wanted = { enough, resolve };
        this.#wake();
      });
    }
    if (!enough(this.#receivedLength)) throw new Error(this.#ended);
    const whole = Uint8Array.from(Buffer.concat(this.#received, this.#receivedLength));
    this.#received = [whole];
    return whole;
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
    outcomes.push({
      vector: view.getUint32(offset + 4, true),
      errorCode: view.getUint32(offset + 8, true),
      registers: new Uint32Array(bytes.buffer.slice(start + outcomeAt.registers, start + outcomeAt.rip)),
      rip: view.getBigUint64(offset + outcomeAt.rip, true),
      flags: view.getUint32(offset + outcomeAt.flags, true),
      faultAddress: view.getBigUint64(offset + outcomeAt.faultAddress, true),
      media: bytes.subarray(offset + outcomeAt.media, offset + outcomeAt.media + mediaSize),
      differences: new BigUint64Array(bytes.buffer.slice(changes, changes + 16 * differences)),
      endless: signal === signals.alarm,
      systemCall: signal === signals.systemCall,
    });
    offset += outcomeSize + 16 * differences;
  }
  return outcomes;
}
