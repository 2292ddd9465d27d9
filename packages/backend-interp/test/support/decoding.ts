import { Decoder, maximumInstructions } from "../../src/decode/decoder.ts";
import { describeBlock } from "../../src/decode/describe.ts";
import { arenaAt, blockField, coreMemorySize } from "../../src/layout.ts";
import type { CoreMemory, Mode } from "../../src/processor-interface.ts";

/** A core memory that nothing executes. */
export function coreMemory(): CoreMemory {
  const pages = coreMemorySize / 0x1_0000;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { buffer } = memory;
  return {
    memory,
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    u64: new BigUint64Array(buffer),
    view: new DataView(buffer),
  };
}

/** Bytes from hexadecimal text; blanks are ignored. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s+/g, ""), "hex"));
}

/** What one block of code became. */
export interface Decoded {
  /** Address behind the block; 0 if the code ended too early. */
  readonly end: number;
  readonly instructions: number;
  readonly length: number;
  /** Of the last instruction. */
  readonly mnemonic: string;
}

/** Decodes into one core memory, always at the same place. */
export class Workbench {
  readonly core = coreMemory();
  readonly decoder = new Decoder(this.core);

  decode(mode: Mode, bytes: Uint8Array, limit = maximumInstructions, rip = 0x1000): Decoded {
    const code = { bytes, origin: 0, length: bytes.length, rip, pageOffset: rip & 0xfff };
    const end = this.decoder.decodeBlock(mode, code, arenaAt, limit);
    return {
      end,
      instructions: this.core.u32[(arenaAt + blockField.instructions) >> 2] as number,
      length: this.core.u32[(arenaAt + blockField.length) >> 2] as number,
      mnemonic: this.decoder.lastMnemonic,
    };
  }

  /** Length of the last block in bytes. */
  get lastLength(): number {
    return this.core.u32[(arenaAt + blockField.length) >> 2] as number;
  }

  /** The operations of a block, one line each. */
  lines(mode: Mode, text: string, rip?: number): string[] {
    const { end } = this.decode(mode, bytesOf(text), undefined, rip);
    return end === 0 ? ["(incomplete)"] : describeBlock(this.core, arenaAt);
  }

  /** The operations of one instruction, without the `end` behind it. */
  operations(mode: Mode, text: string, rip?: number): string[] {
    const bytes = bytesOf(text);
    const decoded = this.decode(mode, bytes, 1, rip);
    if (decoded.length !== bytes.length) throw new Error(`${text}: length is ${decoded.length}`);
    const lines = describeBlock(this.core, arenaAt);
    return lines.at(-1)?.startsWith("end ") === true ? lines.slice(0, -1) : lines;
  }
}
