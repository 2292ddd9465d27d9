import { endingHelpers, type HelperName, helperNames, helperNumber } from "../helper-names.ts";
import {
  blockRipSlot,
  registersAt,
  segmentSize,
  segmentsAt,
  temporariesAt,
  vectorTemporariesAt,
  xmmAt,
  zeroSlot,
} from "../layout.ts";
import { legacyAddress } from "../operations.ts";
import type { Mode } from "../processor-interface.ts";
import {
  addressKinds,
  type FormedKinds,
  kind,
  lea,
  load,
  loadModify,
  move,
  type SizedKinds,
  store,
  storeBack,
} from "./kinds.ts";
import { modeOf } from "./mode.ts";
import { OperationWriter } from "./operation-writer.ts";
import type { Immediate } from "./row.ts";

/** Address forms of operations.ts. */
const form = { base: 0, full: 1, legacy: 2 } as const;

/** Slots of the temporaries; T7 is kept for addresses. NOTE: T0 is not used: its slot may be 0, which says "none". */
export const t1 = temporariesAt + 8;
export const t2 = temporariesAt + 16;
const t7 = temporariesAt + 56;
/** Slot of the first vector temporary. */
export const v0 = vectorTemporariesAt;

export const rax = registersAt;
export const rcx = registersAt + 8;
export const rdx = registersAt + 16;
export const rsp = registersAt + 32;
export const rbp = registersAt + 40;

const numberEnds = Uint8Array.from(helperNames, (name) => (endingHelpers.has(name) ? 1 : 0));
const helperKind = kind("helper");
const endKind = kind("end");
const raiseNumber = helperNumber("raise");
const jump = kind("jump");
const calls: readonly number[] = [kind("call64"), kind("call32")];
const noOperation = kind("no-operation");
const bitOffset = { 2: kind("bit-offset16"), 4: kind("bit-offset32"), 8: kind("bit-offset64") } as const;

/** 16-bit addressing: base, index, whether SS is the default segment, by ModRM.rm (Intel SDM Vol. 2A table 2-1). */
const address16: readonly (readonly [number, number, boolean])[] = [
  [3, 6, false],
  [3, 7, false],
  [5, 6, true],
  [5, 7, true],
  [6, -1, false],
  [7, -1, false],
  [5, -1, true],
  [3, -1, false],
];

/** What a helper operation says beside its number; all optional. */
export interface HelperOperands {
  readonly destination?: number;
  readonly source?: number;
  /** Operand size in bytes; the instruction's if not given. */
  readonly size?: number;
  readonly immediate?: number;
  readonly immediateHigh?: number;
  readonly base?: number;
  readonly index?: number;
}

/**
 * The instruction that is being decoded: its bytes, prefixes and operands, and the operations that it becomes. One
 * object serves for all instructions of a decoder.
 *
 * Reading past `limit` gives zeros and sets `overrun`: what was written for that instruction is then thrown away.
 */
export class Instruction extends OperationWriter {
  mode: Mode = modeOf(0);

  #bytes: Uint8Array = new Uint8Array(0);
  #origin = 0;
  #limit = 0;
  /** Where the next byte is, from the origin. */
  position = 0;
  #start = 0;
  /** A byte beyond the limit was needed. */
  overrun = false;

  /** Prefixes. `repeat`: 0, 1 for F3, 2 for F2 (the last of them). `segmentOverride`: -1 or a segment register number. */
  operandSizePrefix = false;
  addressSizePrefix = false;
  lock = false;
  repeat = 0;
  segmentOverride = -1;
  hasRex = false;
  /** Low four bits of REX: W, R, X, B. */
  rex = 0;
  rexW = false;
  rexR = 0;
  rexX = 0;
  rexB = 0;

  /** Last byte of the opcode. */
  opcode = 0;
  /** In bytes: 2, 4 or 8. */
  operandSize = 4;
  addressSize = 8;

  /** The ModRM byte, and its fields extended by REX. `rm` is a register number only if `isMemory` is false. */
  modrm = 0;
  reg = 0;
  rm = 0;
  isMemory = false;

  #form = 0;
  #base = zeroSlot;
  #index = zeroSlot;
  #scale = 0;
  #displacement = 0;
  #segment = zeroSlot;
  #addressBits = 0;
  #ripRelative = false;

  /** The immediate, sign-extended to 64 bits where it is signed. */
  immediate = 0;
  immediateHigh = 0;

  /** Nothing follows this instruction in its block; `fallsThrough`: an `end` must follow its operations. */
  ends = false;
  fallsThrough = false;

  /** RIP of the block; only used outside 64-bit mode, where jumps wrap around by it. */
  blockRip = 0;
  /** Offset of the block in its page; negative: no jump may be linked. */
  pageOffset = 0;

  /** Where bytes come from: `bytes[origin + position]`. */
  setBytes(bytes: Uint8Array, origin: number): void {
    this.#bytes = bytes;
    this.#origin = origin;
  }

  /** Starts an instruction at a position: no prefixes, no operands. The positions from `limit` on cannot be read. */
  begin(position: number, limit: number, offset: number): void {
    this.#limit = limit;
    this.position = position;
    this.#start = position;
    this.overrun = false;
    this.operandSizePrefix = false;
    this.addressSizePrefix = false;
    this.lock = false;
    this.repeat = 0;
    this.segmentOverride = -1;
    this.hasRex = false;
    this.setRex(0);
    this.isMemory = false;
    this.#ripRelative = false;
    this.immediate = 0;
    this.immediateHigh = 0;
    this.ends = false;
    this.fallsThrough = false;
    this.beginInstruction(offset);
  }

  /** Bytes read so far; the instruction's length once it was read whole. */
  get length(): number {
    return this.position - this.#start;
  }

  setRex(rex: number): void {
    this.rex = rex & 15;
    this.rexW = (rex & 8) !== 0;
    this.rexR = (rex & 4) << 1;
    this.rexX = (rex & 2) << 2;
    this.rexB = (rex & 1) << 3;
  }

  // Reading.

  fetch8(): number {
    const { position } = this;
    this.position = position + 1;
    if (position >= this.#limit) {
      this.overrun = true;
      return 0;
    }
    return this.#bytes[this.#origin + position] as number;
  }

  #fetch16(): number {
    const low = this.fetch8();
    return low | (this.fetch8() << 8);
  }

  #fetch32(): number {
    const low = this.#fetch16();
    return low | (this.#fetch16() << 16);
  }

  /** Reads ModRM, SIB and displacement. Prefixes must be final. */
  readModrm(registerOnly: boolean): void {
    const byte = registerOnly ? this.fetch8() | 0xc0 : this.fetch8();
    this.modrm = byte;
    this.reg = ((byte >> 3) & 7) | this.rexR;
    this.rm = (byte & 7) | this.rexB;
    this.isMemory = byte < 0xc0;
    if (!this.isMemory) return;
    if (this.addressSize === 2) this.#readAddress16(byte);
    else this.#readAddress(byte);
  }

  #readAddress16(byte: number): void {
    const mod = byte >> 6;
    const [base, index, stack] = address16[byte & 7] as (typeof address16)[number];
    const direct = mod === 0 && (byte & 7) === 6;
    this.#base = direct ? zeroSlot : registersAt + base * 8;
    this.#index = direct || index < 0 ? zeroSlot : registersAt + index * 8;
    this.#scale = 0;
    this.#displacement =
      direct || mod === 2 ? (this.#fetch16() << 16) >> 16 : mod === 1 ? (this.fetch8() << 24) >> 24 : 0;
    this.#setSegment(stack && !direct ? 2 : 3);
  }

  #readAddress(byte: number): void {
    const mod = byte >> 6;
    let base = byte & 7;
    let index = -1;
    this.#scale = 0;
    if (base === 4) {
      const sib = this.fetch8();
      base = sib & 7;
      this.#scale = sib >> 6;
      index = ((sib >> 3) & 7) | this.rexX;
      // NOTE: RSP cannot be an index, R12 can.
      if (index === 4) {
        index = -1;
        this.#scale = 0;
      }
      if (base === 5 && mod === 0) {
        this.#base = zeroSlot;
        base = -1;
      }
    } else if (base === 5 && mod === 0) {
      this.#base = zeroSlot;
      base = -1;
      this.#ripRelative = this.mode.long;
    }
    if (base >= 0) this.#base = registersAt + (base | this.rexB) * 8;
    this.#index = index < 0 ? zeroSlot : registersAt + index * 8;
    this.#displacement = base < 0 || mod === 2 ? this.#fetch32() : mod === 1 ? (this.fetch8() << 24) >> 24 : 0;
    this.#setSegment((base === 4 || base === 5) && this.rexB === 0 ? 2 : 3);
  }

  /** Decides about segment, form and the bits of the legacy form. */
  #setSegment(byDefault: number): void {
    const number = this.segmentOverride >= 0 ? this.segmentOverride : byDefault;
    if (this.mode.long) {
      this.#segment = number >= 4 ? segmentsAt + number * segmentSize : zeroSlot;
      if (this.addressSize === 4) {
        this.#form = form.legacy;
        this.#addressBits = number | (1 << legacyAddress.sizeShift);
      } else {
        this.#form = this.#segment === zeroSlot && this.#index === zeroSlot ? form.base : form.full;
        this.#addressBits = 2 << legacyAddress.sizeShift;
      }
      return;
    }
    // NOTE: CS can be read but not written in protected mode, and FS and GS are never known to be flat.
    const plain = this.mode.flat && number !== 1 && number < 4;
    this.#segment = plain ? zeroSlot : segmentsAt + number * segmentSize;
    this.#form = form.legacy;
    this.#addressBits =
      number |
      ((this.addressSize === 4 ? 1 : 0) << legacyAddress.sizeShift) |
      legacyAddress.wrap |
      (plain ? 0 : legacyAddress.check);
  }

  readImmediate(type: Immediate): void {
    switch (type) {
      case "none":
        return;
      case "byte":
        this.#setImmediate((this.fetch8() << 24) >> 24);
        return;
      case "word":
        this.#setImmediate(this.#fetch16());
        return;
      case "operand":
        this.#setImmediate(this.operandSize === 2 ? (this.#fetch16() << 16) >> 16 : this.#fetch32());
        return;
      case "full":
        if (this.operandSize !== 8) this.#setImmediate(this.operandSize === 2 ? this.#fetch16() : this.#fetch32());
        else this.#readPair();
        return;
      case "address":
        if (this.addressSize === 8) this.#readPair();
        else {
          this.immediate = this.addressSize === 2 ? this.#fetch16() : this.#fetch32();
          this.immediateHigh = 0;
        }
        return;
      case "enter":
        this.immediate = this.#fetch16();
        this.immediate |= this.fetch8() << 16;
        this.immediateHigh = 0;
        return;
      case "far":
        this.immediate = this.operandSize === 2 ? this.#fetch16() : this.#fetch32();
        this.immediateHigh = this.#fetch16();
        return;
    }
  }

  #setImmediate(value: number): void {
    this.immediate = value;
    this.immediateHigh = value >> 31;
  }

  #readPair(): void {
    this.immediate = this.#fetch32();
    this.immediateHigh = this.#fetch32();
  }

  /** To be called when all bytes were read, before operations are written: addresses relative to RIP need the length. */
  finishAddress(): void {
    if (!this.#ripRelative) return;
    const distance = this.#displacement + this.offset + this.length;
    this.#base = blockRipSlot;
    if (distance === (distance | 0) || this.#form === form.legacy) {
      this.#displacement = distance | 0;
      return;
    }
    this.loadEffectiveAddressOf(t7, blockRipSlot, this.offset + this.length);
    this.#base = t7;
  }

  // Slots.

  /** Slot of a general register for operands of `size` bytes: AH, CH, DH, BH without REX. */
  register(number: number, size: number): number {
    if (size === 1 && !this.hasRex && number >= 4) return registersAt + (number - 4) * 8 + 1;
    return registersAt + number * 8;
  }

  /** Slot of ModRM.reg as a general register. */
  regSlot(size: number): number {
    return this.register(this.reg, size);
  }

  /** Slot of ModRM.rm as a general register. */
  rmSlot(size: number): number {
    return this.register(this.rm, size);
  }

  xmmReg(): number {
    return xmmAt + this.reg * 16;
  }

  xmmRm(): number {
    return xmmAt + this.rm * 16;
  }

  /** Slot of ModRM.rm: the register, or T1 after loading it. */
  loadRm(size: number): number {
    if (!this.isMemory) return this.rmSlot(size);
    this.memory(load, size, t1, 0);
    return t1;
  }

  /** Copies ModRM.rm into a slot. */
  loadInto(destination: number, size: number): void {
    if (this.isMemory) this.memory(load, size, destination, 0);
    else this.emit(move[size] as number, destination, this.rmSlot(size));
  }

  /** Slot of ModRM.rm as something to change: the register, or T1 after loading it; {@link storeRm} follows. */
  modifyRm(size: number): number {
    if (!this.isMemory) return this.rmSlot(size);
    this.memory(loadModify, size, t1, 0);
    return t1;
  }

  /** Stores T1 back if ModRM.rm is memory. */
  storeRm(size: number): void {
    if (this.isMemory) this.emit(storeBack[size] as number, 0, t1);
  }

  // Memory operands.

  /** Writes an operation on the memory operand. */
  memory(kinds: FormedKinds, size: number, destination: number, source: number): number {
    return this.#address((kinds[this.#form] as SizedKinds)[size] as number, destination, source);
  }

  /** Puts the memory operand's linear address into the effective address slot, for a helper that reads or writes `size` bytes there. */
  effectiveAddress(size = 1, write = false): void {
    const at = this.#address(addressKinds[this.#form] as number, 0, 0);
    this.setImmediate(at, size, write ? 1 : 0);
  }

  /** d = offset of the memory operand. */
  loadEffectiveAddress(destination: number): void {
    this.#address(lea[this.operandSize] as number, destination, 0);
  }

  /** Stores the immediate into the memory operand. */
  storeConstant(size: number): void {
    const at = this.memory(store, size, 0, this.cursor + 32);
    this.setImmediate(at, this.immediate, this.immediateHigh);
  }

  #address(kind: number, destination: number, source: number): number {
    const at = this.emit(kind, destination, source);
    this.setLinks(at, this.#base, this.#index, 0);
    this.setScale(at, this.#scale);
    this.setAuxiliary(at, this.#addressBits);
    this.setDisplacement(at, this.#displacement);
    this.setSegment(at, this.#segment);
    return at;
  }

  /** The memory operand becomes [register] (and index, if not {@link zeroSlot}), with the segment that applies. */
  useRegisterAddress(base: number, index: number): void {
    this.#base = base;
    this.#index = index;
    this.#scale = 0;
    this.#displacement = 0;
    this.#setSegment(3);
  }

  /** A load into, or store from, the address that is the immediate (moffs). */
  absolute(kinds: FormedKinds, size: number, destination: number, source: number): void {
    this.useRegisterAddress(zeroSlot, zeroSlot);
    if (this.#form === form.legacy) {
      this.#displacement = this.immediate;
      this.memory(kinds, size, destination, source);
      return;
    }
    const at = this.memory(kinds, size, destination, source);
    this.setImmediate(at, this.immediate, this.immediateHigh);
    this.setBaseToImmediate(at);
  }

  /** The memory operand moves to the unit that has the bit of which `slot` has the number. */
  addBitOffset(slot: number): void {
    this.emit(bitOffset[this.operandSize as 2 | 4 | 8], t2, slot);
    if (this.#index !== zeroSlot) {
      // The base stays where it is: by it is decided whether a fault is #SS.
      const at = this.emit(lea[8] as number, t2, 0);
      this.setLinks(at, t2, this.#index, 0);
      this.setScale(at, this.#scale);
      this.setAuxiliary(at, 2 << legacyAddress.sizeShift);
      this.#scale = 0;
    }
    this.#index = t2;
    if (this.#form === form.base) this.#form = form.full;
  }

  /** POP to memory: the address is computed with the raised RSP, but RSP changes only after the store. */
  popMemory(): void {
    const size = this.operandSize;
    if (this.mode.long) {
      const at = this.emit((load[form.base] as SizedKinds)[size] as number, t1, 0);
      this.setLinks(at, rsp, zeroSlot, 0);
    } else {
      const at = this.emit((load[form.legacy] as SizedKinds)[size] as number, t1, 0);
      const bits = 2 | ((this.mode.stackSize === 4 ? 1 : 0) << legacyAddress.sizeShift) | legacyAddress.wrap;
      this.setLinks(at, rsp, zeroSlot, 0);
      this.setAuxiliary(at, this.mode.flat ? bits : bits | legacyAddress.check);
      this.setSegment(at, this.mode.flat ? zeroSlot : segmentsAt + 2 * segmentSize);
    }
    if (this.#base === rsp) this.#displacement += size;
    this.memory(store, size, 0, t1);
    if (this.mode.long) this.loadEffectiveAddressOf(rsp, rsp, size);
    else this.helper("pop", { destination: t2 });
  }

  /** d = [base] + distance, 64 bits: an addition that leaves the flags alone. */
  loadEffectiveAddressOf(destination: number, base: number, distance: number): void {
    const at = this.emit(lea[8] as number, destination, 0);
    this.setLinks(at, base, zeroSlot, 0);
    this.setDisplacement(at, distance);
    this.setAuxiliary(at, 2 << legacyAddress.sizeShift);
  }

  /** Number of the segment register that a string instruction's source uses. */
  get dataSegment(): number {
    return this.segmentOverride >= 0 ? this.segmentOverride : 3;
  }

  // Helpers and control transfers.

  /** Writes a helper operation; ends the block if the helper is of that kind. */
  helper(name: HelperName, operands: HelperOperands = {}): void {
    this.helperNumbered(helperNumber(name), operands);
  }

  helperNumbered(number: number, operands: HelperOperands): void {
    const at = this.emit(helperKind, operands.destination ?? 0, operands.source ?? 0);
    this.setAuxiliary(at, number);
    this.setScale(at, operands.size ?? this.operandSize);
    this.setDisplacement(at, this.length);
    this.setLinks(at, operands.base ?? 0, operands.index ?? 0, 0);
    const low = operands.immediate ?? 0;
    this.setImmediate(at, low, operands.immediateHigh ?? low >> 31);
    if (numberEnds[number] === 1) {
      this.ends = true;
      // NOTE: a helper that says "next" although it may change the mode, the page tables or an interrupt's fate goes on
      // with the `end` behind it, and so looks the next block up.
      this.fallsThrough = number !== raiseNumber;
    }
  }

  /** The exception in place of the instruction. */
  raise(vector: number): void {
    this.helper("raise", { immediate: vector });
  }

  /** An instruction that does nothing: usually no operation at all. */
  nothing(): void {
    if (this.wrote || this.skipped === 15) this.emit(noOperation, 0, 0);
    else this.skipped++;
  }

  /** Distance from the block's RIP of a near branch's target. Outside 64-bit mode it wraps around at the operand size. */
  branchDistance(): number {
    const distance = this.offset + this.length + this.immediate;
    if (this.mode.long) return distance;
    const target = this.blockRip + distance;
    return (this.operandSize === 2 ? target & 0xffff : target >>> 0) - this.blockRip;
  }

  /** Whether a branch over this distance needs no helper: it fits the field, and in 64-bit mode is not cut to 16 bits. */
  isDirect(distance: number): boolean {
    return distance === (distance | 0) && (!this.mode.long || this.operandSize !== 2);
  }

  /** Flag for a jump over this distance: may it be linked? */
  linkable(distance: number): boolean {
    const target = this.pageOffset + distance;
    return this.pageOffset >= 0 && target >= 0 && target < 4096;
  }

  /** `jump`, `jump-if-…`, a call or `loop64`: to `distance` from the block's RIP, else to the next instruction. */
  branch(kindOfBranch: number, distance: number, auxiliary: number): void {
    const at = this.emit(kindOfBranch, 0, 0);
    const next = this.offset + this.length;
    const flags =
      (this.linkable(distance) ? 2 : 0) |
      (kindOfBranch !== jump && !calls.includes(kindOfBranch) && this.linkable(next) ? 4 : 0);
    this.setLinks(at, 0, 0, flags);
    this.setDisplacement(at, distance);
    this.setImmediate(at, next, 0);
    this.setAuxiliary(at, auxiliary);
    this.ends = true;
  }

  /** An operation that transfers control to what its source or the stack says. `immediate`: see operations.ts. */
  indirect(kindOfBranch: number, source: number, immediate: number): void {
    const at = this.emit(kindOfBranch, 0, source);
    this.setLinks(at, 0, 0, 0);
    this.setImmediate(at, immediate, 0);
    this.ends = true;
  }

  /** `end`, going on `distance` behind the block's RIP; each time looked up. */
  endUnlinked(distance: number): void {
    this.emitEnd(endKind, distance, false);
  }

  /** As {@link endUnlinked}, but linked if the code goes on in the page. */
  end(distance: number): void {
    this.emitEnd(endKind, distance, this.linkable(distance));
  }
}
