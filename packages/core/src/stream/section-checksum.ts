import { crc32 } from "./crc32.ts";
import { encodeName } from "./format.ts";

/** What the checksum of a device section is computed from. */
interface SummedSection {
  readonly id: string;
  readonly instance: number;
  readonly version: number;
  readonly data: Uint8Array;
}

/**
 * The CRC-32 of a device section: of its name, NUL, instance, version and place as u32s, and its data. So a section
 * that is exchanged for another one, or moved, does not have its checksum.
 *
 * @param place - how many device sections stand in front of it.
 */
export function sectionChecksum({ id, instance, version, data }: SummedSection, place: number): number {
  const name = encodeName(id);
  const head = new Uint8Array(name.length + 1 + 3 * 4);
  head.set(name);
  const view = new DataView(head.buffer, name.length + 1);
  view.setUint32(0, instance);
  view.setUint32(4, version);
  view.setUint32(8, place);
  return crc32(data, crc32(head));
}
