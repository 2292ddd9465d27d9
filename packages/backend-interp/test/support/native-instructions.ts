import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** An instruction and the state it starts from; the memory operand, if any, is at [RDI]. */
export interface InstructionCase {
  code: Uint8Array;
  /** FXSAVE image, 512 bytes. */
  image: Uint8Array;
  /** What RDI points to, 128 bytes. */
  memory: Uint8Array;
  /** RAX, RCX, RDX, RBX. */
  registers: BigUint64Array;
  flags: bigint;
}

export interface InstructionOutcome {
  image: Uint8Array;
  memory: Uint8Array;
  registers: BigUint64Array;
  flags: bigint;
  /** Signal that the instruction caused, or 0. */
  signal: number;
}

export const memorySize = 128;
const caseSize = 704;
const outcomeSize = 688;

/** Compiles test/native/run-instructions.cpp; `run` executes cases on this machine's processor. */
export class NativeInstructions {
  readonly #folder = mkdtempSync(join(tmpdir(), "native-instructions-"));
  readonly #program = join(this.#folder, "run-instructions");

  constructor() {
    const source = fileURLToPath(new URL("../native/run-instructions.cpp", import.meta.url));
    execFileSync("g++", ["-O1", "-std=c++17", "-o", this.#program, source], {
      stdio: ["ignore", "inherit", "inherit"],
    });
  }

  run(cases: readonly InstructionCase[]): InstructionOutcome[] {
    const input = new Uint8Array(cases.length * caseSize);
    const view = new DataView(input.buffer);
    cases.forEach((item, index) => {
      const at = index * caseSize;
      input.set(item.image, at);
      input.set(item.memory, at + 512);
      item.registers.forEach((value, register) => {
        view.setBigUint64(at + 640 + 8 * register, value, true);
      });
      view.setBigUint64(at + 672, item.flags, true);
      input[at + 680] = item.code.length;
      input.set(item.code, at + 681);
    });
    const { stdout, status, signal } = spawnSync(this.#program, {
      input,
      maxBuffer: cases.length * outcomeSize + 4096,
    });
    if (status !== 0) throw new Error(`run-instructions ended with ${status ?? signal}`);
    return cases.map((_, index) => {
      const bytes = new Uint8Array(stdout.buffer, stdout.byteOffset + index * outcomeSize, outcomeSize).slice();
      const result = new DataView(bytes.buffer);
      return {
        image: bytes.subarray(0, 512),
        memory: bytes.subarray(512, 640),
        registers: new BigUint64Array(bytes.buffer, 640, 4),
        flags: result.getBigUint64(672, true),
        signal: Number(result.getBigUint64(680, true)),
      };
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
