import { describedSize, type FieldDescription, type StateDescription } from "./description.ts";

/** A value as the vmdescription describes it. Buffers, and types that nobody knows, are bytes. */
export type DescribedValue =
  | bigint
  | number
  | boolean
  | Uint8Array
  | readonly DescribedValue[]
  | { readonly [name: string]: DescribedValue };

/**
 * Decodes a state by its description alone, without the schema of the device.
 *
 * @param data - as long as the description says.
 */
export function decodeDescribed(
  { fields }: StateDescription,
  data: Uint8Array,
): Readonly<Record<string, DescribedValue>> {
  const values: Record<string, DescribedValue> = {};
  let offset = 0;
  for (const field of fields) {
    const size = describedSize(field);
    values[field.name] = decodeField(field, data.subarray(offset, offset + size));
    offset += size;
  }
  return values;
}

function decodeField(field: FieldDescription, data: Uint8Array): DescribedValue {
  const { array_len: length, size } = field;
  if (length === undefined) {
    return decodeElement(field, data);
  }
  return Array.from({ length }, (_, index) => decodeElement(field, data.subarray(index * size, (index + 1) * size)));
}

function decodeElement({ type, struct, size }: FieldDescription, data: Uint8Array): DescribedValue {
  if (struct !== undefined) {
    return decodeDescribed(struct, data);
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (`${type}/${size}`) {
    case "bool/1":
      return view.getUint8(0) !== 0;
    case "uint8/1":
      return view.getUint8(0);
    case "uint16/2":
      return view.getUint16(0);
    case "uint32/4":
      return view.getUint32(0);
    case "uint64/8":
      return view.getBigUint64(0);
    case "int64/8":
      return view.getBigInt64(0);
    default:
      return data;
  }
}
