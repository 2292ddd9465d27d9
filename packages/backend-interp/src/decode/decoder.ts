import { blockField, blockHeaderSize } from "../layout.ts";
import { operationSize } from "../operations.ts";
import type { CoreMemory, Mode } from "../processor-interface.ts";
import { enterControl } from "./control-map.ts";
import { Instruction } from "./instruction.ts";
import { enterIntegers, enterTwoByteIntegers } from "./integer-map.ts";
import { emptyMap, type Row, undefinedRow } from "./row.ts";
import { enterCrc32, enterSystem } from "./system-map.ts";
import { enterVectors } from "./vector-map.ts";
import { enterX87 } from "./x87-map.ts";

/** No instruction is longer: a longer one raises #GP(0). */
export const maximumLength = 15;
/** Instructions in a block. */
export const maximumInstructions = 64;
/** More operations than any one instruction becomes. */
const operationsPerInstruction = 10;
/** More bytes than any block takes: header, operations, `end`. */
export const maximumBlockSize = blockHeaderSize + (maximumInstructions * operationsPerInstruction + 1) * operationSize;

const oneByte = emptyMap();
const twoByte = emptyMap();
const map38 = emptyMap();
const map3a = emptyMap();
enterIntegers(oneByte);
enterControl(oneByte);
enterX87(oneByte);
enterTwoByteIntegers(twoByte);
enterSystem(twoByte);
enterVectors(twoByte, map38, map3a);
enterCrc32(map38);

/** What a byte is before an opcode. */
const prefix = { none: 0, operandSize: 1, addressSize: 2, lock: 3, repeat: 4, segment: 5, rex: 6 } as const;
const prefixOf = new Uint8Array(256);
prefixOf[0x66] = prefix.operandSize;
prefixOf[0x67] = prefix.addressSize;
prefixOf[0xf0] = prefix.lock;
prefixOf[0xf3] = prefix.repeat;
prefixOf[0xf2] = prefix.repeat;
for (const byte of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) prefixOf[byte] = prefix.segment;
prefixOf.fill(prefix.rex, 0x40, 0x50);

/** Where a block's code is. */
export interface CodeBytes {
  /** The code is at `bytes[origin + position]` for positions from 0 to `length` - 1. */
  readonly bytes: Uint8Array;
  readonly origin: number;
  readonly length: number;
  /** RIP of position 0; only used outside 64-bit mode. */
  readonly rip: number;
  /** Offset of position 0 in its page, or -1: then no jump is linkable. */
  readonly pageOffset: number;
}

/** Decodes x86 instructions of any mode into operations. */
export class Decoder {
  readonly #core: CoreMemory;
  readonly #instruction: Instruction;
  /** Name of the row of the last instruction that was decoded, "(bad)" if it is undefined: for tests and tools. */
  lastMnemonic = "";

  constructor(core: CoreMemory) {
    this.#core = core;
    this.#instruction = new Instruction(core);
  }

  /**
   * Decodes a block to `at` (which has {@link maximumBlockSize} bytes): at most `limit` instructions, up to the first
   * that ends a block or does not lie in the code whole. Returns the address behind it; 0, if the code ends before the
   * first instruction does, though that has not yet {@link maximumLength} bytes.
   */
  decodeBlock(mode: Mode, code: CodeBytes, at: number, limit: number): number {
    const i = this.#instruction;
    i.mode = mode;
    i.blockRip = code.rip;
    i.pageOffset = code.pageOffset;
    i.setBytes(code.bytes, code.origin);
    i.beginBlock(at + blockHeaderSize);
    let position = 0;
    let count = 0;
    for (;;) {
      const { cursor, skipped, wrote } = i;
      const end = Math.min(code.length, position + maximumLength);
      i.begin(position, end, position);
      this.lastMnemonic = this.#decodeInstruction(i).name;
      if (i.overrun) {
        i.cursor = cursor;
        i.skipped = skipped;
        i.wrote = wrote;
        const isTooLong = end === position + maximumLength;
        if (!isTooLong && count === 0) return 0;
        if (isTooLong) {
          i.begin(position, end, position);
          i.raise(13);
          count++;
          position += maximumLength;
        } else {
          i.end(position);
        }
        break;
      }
      count++;
      position = i.position;
      if (i.ends) {
        // NOTE: never linked: the helper may have changed the mode or the page tables.
        if (i.fallsThrough) i.endUnlinked(position);
        break;
      }
      if (count === limit) {
        i.end(position);
        break;
      }
    }
    const header = at >>> 2;
    const { u32 } = this.#core;
    u32[header + (blockField.instructions >> 2)] = count;
    u32[header + (blockField.length >> 2)] = position;
    u32[header + (blockField.operations >> 2)] = (i.cursor - at - blockHeaderSize) / operationSize;
    return i.cursor;
  }

  /** Reads one instruction and writes its operations. Returns its row. */
  #decodeInstruction(i: Instruction): Row {
    let row = this.#readOpcode(i);
    let hasModrm = false;
    for (;;) {
      if (row.modrm && !hasModrm) {
        hasModrm = true;
        i.readModrm(row.registerOnly);
      }
      if (row.select === undefined) break;
      row = row.select(i);
    }
    if (i.mode.long && row.wide && i.operandSize === 4) i.operandSize = 8;
    i.readImmediate(row.immediate);
    const allowed =
      (row.availability === "always" || this.#isAvailable(i, row)) && (!i.lock || (row.lockable && i.isMemory));
    if (i.overrun) return row;
    if (!allowed) {
      undefinedRow.emit(i);
      return undefinedRow;
    }
    if (row.vector && i.mode.vectorsAllowed !== "yes") {
      i.raise(i.mode.vectorsAllowed === "ud" ? 6 : 7);
      return row;
    }
    i.finishAddress();
    row.emit(i);
    return row;
  }

  #isAvailable(i: Instruction, row: Row): boolean {
    switch (row.availability) {
      case "long":
        return i.mode.long;
      case "legacy":
        return !i.mode.long;
      case "protected":
        return i.mode.protectedMode;
      default:
        return true;
    }
  }

  /** Reads prefixes and opcode, and finds the opcode's row. */
  #readOpcode(i: Instruction): Row {
    const { long } = i.mode;
    let rex = 0;
    let byte = i.fetch8();
    for (let kind = prefixOf[byte]; kind !== prefix.none; kind = prefixOf[byte]) {
      if (kind === prefix.rex) {
        if (!long) break;
        rex = byte;
      } else {
        // NOTE: REX counts only directly before the opcode.
        rex = 0;
        if (kind === prefix.operandSize) i.operandSizePrefix = true;
        else if (kind === prefix.addressSize) i.addressSizePrefix = true;
        else if (kind === prefix.lock) i.lock = true;
        else if (kind === prefix.repeat) i.repeat = byte === 0xf3 ? 1 : 2;
        // In 64-bit mode only FS and GS count, and the others do not even cancel them.
        else if (byte >= 0x64) i.segmentOverride = byte - 0x60;
        else if (!long) i.segmentOverride = (byte >> 3) & 3;
      }
      byte = i.fetch8();
    }
    if (rex !== 0) {
      i.hasRex = true;
      i.setRex(rex);
    }
    if (long) {
      i.operandSize = i.rexW ? 8 : i.operandSizePrefix ? 2 : 4;
      i.addressSize = i.addressSizePrefix ? 4 : 8;
    } else {
      const { size } = i.mode;
      i.operandSize = i.operandSizePrefix ? 6 - size : size;
      i.addressSize = i.addressSizePrefix ? 6 - size : size;
    }
    let map = oneByte;
    if (byte === 0x0f) {
      map = twoByte;
      byte = i.fetch8();
      if (byte === 0x38) {
        map = map38;
        byte = i.fetch8();
      } else if (byte === 0x3a) {
        map = map3a;
        byte = i.fetch8();
      }
    }
    i.opcode = byte;
    return map[byte] as Row;
  }
}
