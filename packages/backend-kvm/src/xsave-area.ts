/** Offsets in the XSAVE area (Intel SDM Vol. 1 §13.4). */
const at = { mxcsrMask: 28, reserved: 464, components: 512, headerRest: 520, extended: 576, avxEnd: 832 } as const;
const avx = 0b100n;
/** The mask that the area carries for MXCSR: what all x86-64 processors have. */
const mxcsrMask = 0xffff;

/**
 * The XSAVE area in the form that all backends give: components that the CPU model lacks, and what the kernel notes in reserved
 * places, are left out.
 */
export function normalizeXsave(area: DataView, components: bigint): Uint8Array {
  const bytes = new Uint8Array(area.buffer).slice();
  const view = new DataView(bytes.buffer);
  view.setUint32(at.mxcsrMask, mxcsrMask, true);
  bytes.fill(0, at.reserved, at.components);
  view.setBigUint64(at.components, view.getBigUint64(at.components, true) & components, true);
  bytes.fill(0, at.headerRest, at.extended);
  bytes.fill(0, (components & avx) === 0n ? at.extended : at.avxEnd);
  return bytes;
}
