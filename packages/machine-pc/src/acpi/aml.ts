/**
 * Encoders for the parts of AML that the DSDT is made of (ACPI 6.5 §20.2). Each returns the bytes of one term.
 *
 * @packageDocumentation
 */

/** Bytes of AML. */
export type Aml = readonly number[];

const opcode = {
  zero: 0x00,
  one: 0x01,
  name: 0x08,
  byte: 0x0a,
  word: 0x0b,
  doubleWord: 0x0c,
  string: 0x0d,
  scope: 0x10,
  buffer: 0x11,
  package: 0x12,
  method: 0x14,
  root: 0x5c,
  dualName: 0x2e,
  notify: 0x86,
  extension: 0x5b,
  device: 0x82,
} as const;

function littleEndian(value: number, size: number): number[] {
  return Array.from({ length: size }, (_, index) => Math.floor(value / 2 ** (8 * index)) & 0xff);
}

/** Puts the length in front of a term's contents; it counts itself (§20.2.4). */
function withLength(contents: Aml): Aml {
  if (contents.length + 1 < 0x40) {
    return [contents.length + 1, ...contents];
  }
  const extra = contents.length + 2 < 0x1000 ? 1 : contents.length + 3 < 0x10_0000 ? 2 : 3;
  const length = contents.length + 1 + extra;
  return [(extra << 6) | (length & 0xf), ...littleEndian(Math.floor(length / 16), extra), ...contents];
}

/** A name of one segment, or one from the root with two, `\\_SB.DEV`. Short segments are filled up with `_`. */
function nameString(name: string): Aml {
  if (name.startsWith("\\")) {
    const segments = name.slice(1).split(".");
    return [opcode.root, opcode.dualName, ...segments.flatMap(nameString)];
  }
  const segment = name.padEnd(4, "_");
  if (!/^[A-Z_][A-Z0-9_]{3}$/.test(segment)) {
    throw new RangeError(`'${name}' is not an ACPI name of one segment`);
  }
  return [...Buffer.from(segment, "latin1")];
}

/** An unsigned integer of up to 32 bits. */
export function integer(value: number): Aml {
  if (value === 0) return [opcode.zero];
  if (value === 1) return [opcode.one];
  if (value < 0x100) return [opcode.byte, value];
  if (value < 0x1_0000) return [opcode.word, ...littleEndian(value, 2)];
  return [opcode.doubleWord, ...littleEndian(value, 4)];
}

/** `"text"`. */
export function string(text: string): Aml {
  return [opcode.string, ...Buffer.from(text, "latin1"), 0];
}

/** `Name (name, value)`. */
export function name(path: string, value: Aml): Aml {
  return [opcode.name, ...nameString(path), ...value];
}

/** `Scope (path) { … }`. */
export function scope(path: string, ...terms: readonly Aml[]): Aml {
  return [opcode.scope, ...withLength([...nameString(path), ...terms.flat()])];
}

/** `Device (path) { … }`. */
export function device(path: string, ...terms: readonly Aml[]): Aml {
  return [opcode.extension, opcode.device, ...withLength([...nameString(path), ...terms.flat()])];
}

/** `Method (path, 0, NotSerialized) { … }`. */
export function method(path: string, ...terms: readonly Aml[]): Aml {
  return [opcode.method, ...withLength([...nameString(path), 0, ...terms.flat()])];
}

/** `Notify (path, value)`. */
export function notify(path: string, value: number): Aml {
  return [opcode.notify, ...nameString(path), ...integer(value)];
}

/** `Package () { … }`. */
export function packageOf(...elements: readonly Aml[]): Aml {
  return [opcode.package, ...withLength([elements.length, ...elements.flat()])];
}

/** `EisaId ("PNP0501")`: three letters of five bits and four hexadecimal digits, big-endian, as an integer (§19.3.4). */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) {
    throw new RangeError(`'${id}' is not an EISA id`);
  }
  const letter = (index: number): number => id.charCodeAt(index) - 0x40;
  const maker = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  return integer(Buffer.of(maker >> 8, maker & 0xff, product >> 8, product & 0xff).readUInt32LE());
}

/** `ResourceTemplate () { … }`: a buffer of resource descriptors with an end tag. */
export function resourceTemplate(...resources: readonly Aml[]): Aml {
  // An end tag with a checksum of 0 is valid whatever the descriptors are (§6.4.2.9).
  const bytes = [...resources.flat(), 0x79, 0x00];
  return [opcode.buffer, ...withLength([...integer(bytes.length), ...bytes])];
}

/** `IO (Decode16, base, base, 1, length)` (§6.4.2.5). */
export function ioPorts(base: number, length: number): Aml {
  return [0x47, 0x01, ...littleEndian(base, 2), ...littleEndian(base, 2), 0x01, length];
}

/** `IRQNoFlags () { number }`: edge-triggered, active high (§6.4.2.1). */
export function irq(number: number): Aml {
  return [0x22, ...littleEndian(1 << number, 2)];
}

/** What an address space descriptor says beside its bounds: type, type-specific flags, and the bytes of a bound (§6.4.3.5). */
const addressSpaces = {
  /** Read-write, not cacheable. */
  memory: { type: 0, flags: 0x01, size: 4 },
  /** The entire range. */
  ports: { type: 1, flags: 0x03, size: 2 },
  bus: { type: 2, flags: 0x00, size: 2 },
} as const;

/**
 * `DWordMemory`, `WordIO` or `WordBusNumber (ResourceProducer, …, first, last, …)`: what a bridge passes on to the devices behind it
 * (§6.4.3.5.2, §6.4.3.5.3).
 */
export function addressRange(space: keyof typeof addressSpaces, first: number, last: number): Aml {
  const { type, flags, size } = addressSpaces[space];
  const tag = size === 4 ? 0x87 : 0x88;
  // Both bounds are fixed, and the bridge decodes positively.
  const fixed = 0x0c;
  const [granularity, translation] = [0, 0];
  const bounds = [granularity, first, last, translation, last - first + 1].flatMap((bound) =>
    littleEndian(bound, size),
  );
  return [tag, ...littleEndian(3 + bounds.length, 2), type, fixed, flags, ...bounds];
}
