/**
 * RCPSS and RSQRTSS: approximations whose error is bounded (1.5 · 2^-12 relative), but whose bits every processor family
 * chooses by a table of its own. Here they are the true values rounded to 12 bits of significand, so exact powers of two have
 * exact reciprocals. Denormal operands count as zeros; tiny results become zeros; no exception is raised.
 */

const view = new DataView(new ArrayBuffer(4));

function toNumber(bits: number): number {
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

/** Bits of a single with the value rounded to 12 significant bits. */
function rounded(value: number): number {
  view.setFloat32(0, value);
  const bits = view.getUint32(0) + 0x800;
  return (bits & ~0xfff) >>> 0;
}

const quietBit = 0x400000;
const infinityBits = 0x7f800000;
const indefinite = 0xffc00000;

/** 1/x, from bits to bits. */
export function reciprocal(bits: number): number {
  const sign = bits & 0x80000000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > infinityBits) return (bits | quietBit) >>> 0;
  if (magnitude === infinityBits) return sign >>> 0;
  if (magnitude < 0x800000) return (sign | infinityBits) >>> 0;
  const result = rounded(1 / toNumber(magnitude));
  return (sign | (result < 0x800000 ? 0 : result)) >>> 0;
}

/** 1/√x. */
export function reciprocalSquareRoot(bits: number): number {
  const sign = bits & 0x80000000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > infinityBits) return (bits | quietBit) >>> 0;
  if (magnitude < 0x800000) return (sign | infinityBits) >>> 0;
  if (sign) return indefinite;
  if (magnitude === infinityBits) return 0;
  return rounded(1 / Math.sqrt(toNumber(magnitude)));
}
