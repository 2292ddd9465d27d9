import { eflagsAt, flagsKind, flagsKindAt, flagsLeftAt, flagsResultAt, flagsRightAt } from "../layout.ts";
import { arithmeticFlags, flag } from "./architecture.ts";

/** Even parity of each byte, as the PF bit. */
const parity = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0;
  for (let bit = 0; bit < 8; bit++) ones += (byte >> bit) & 1;
  return ones % 2 === 0 ? flag.parity : 0;
});

/** ZF, SF and PF of a result that is sign-extended to 64 bits. */
function resultFlags(low: number, high: number): number {
  return (parity[low & 0xff] as number) | ((low | high) === 0 ? flag.zero : 0) | (high >>> 31 === 1 ? flag.sign : 0);
}

/** All of RFLAGS, with the lazy arithmetic flags computed; see `flagsKindAt` in layout.ts. */
export function readFlags(u32: Uint32Array): number {
  const stored = u32[eflagsAt >> 2] as number;
  const kind = u32[flagsKindAt >> 2] as number;
  if (kind === flagsKind.explicit) {
    return stored;
  }
  const low = u32[flagsResultAt >> 2] as number;
  const high = u32[(flagsResultAt >> 2) + 1] as number;
  const kept = flag.zero | flag.sign | flag.parity;
  if (kind === flagsKind.result) {
    return (stored & ~kept) | resultFlags(low, high);
  }
  const leftLow = u32[flagsLeftAt >> 2] as number;
  const leftHigh = u32[(flagsLeftAt >> 2) + 1] as number;
  const rightLow = u32[flagsRightAt >> 2] as number;
  const rightHigh = u32[(flagsRightAt >> 2) + 1] as number;
  let carry: boolean;
  let overflow: number;
  if (kind === flagsKind.sum || kind === flagsKind.increment) {
    carry = high === leftHigh ? low < leftLow : high < leftHigh;
    overflow = (leftHigh ^ high) & (rightHigh ^ high);
  } else {
    carry = leftHigh === rightHigh ? leftLow < rightLow : leftHigh < rightHigh;
    overflow = (leftHigh ^ rightHigh) & (leftHigh ^ high);
  }
  if (kind === flagsKind.increment || kind === flagsKind.decrement) carry = (stored & flag.carry) !== 0;
  return (
    (stored & ~arithmeticFlags) |
    resultFlags(low, high) |
    (carry ? flag.carry : 0) |
    (overflow < 0 ? flag.overflow : 0) |
    ((leftLow ^ rightLow ^ low) & flag.adjust)
  );
}

/** Makes the arithmetic flags explicit: RFLAGS becomes `flags` as it stands. */
export function storeFlags(u32: Uint32Array, flags: number): void {
  u32[flagsKindAt >> 2] = flagsKind.explicit;
  u32[eflagsAt >> 2] = flags;
}

/** Whether condition code 0 to 15 holds (Intel SDM Vol. 1 appendix B). */
export function conditionHolds(flags: number, condition: number): boolean {
  const sign = (flags & flag.sign) !== 0;
  const overflow = (flags & flag.overflow) !== 0;
  let holds: boolean;
  switch (condition >> 1) {
    case 0:
      holds = overflow;
      break;
    case 1:
      holds = (flags & flag.carry) !== 0;
      break;
    case 2:
      holds = (flags & flag.zero) !== 0;
      break;
    case 3:
      holds = (flags & (flag.carry | flag.zero)) !== 0;
      break;
    case 4:
      holds = sign;
      break;
    case 5:
      holds = (flags & flag.parity) !== 0;
      break;
    case 6:
      holds = sign !== overflow;
      break;
    default:
      holds = sign !== overflow || (flags & flag.zero) !== 0;
  }
  return (condition & 1) === 0 ? holds : !holds;
}
