/** The contents of section `.text` of a 64-bit little-endian ELF file (System V ABI, chapter 4). */
export function elfText(file: Buffer): Uint8Array {
  if (file.toString("latin1", 0, 4) !== "\x7fELF") throw new Error("not an ELF file");
  const sections = Number(file.readBigUInt64LE(0x28));
  const entrySize = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  const header = (index: number) => {
    const at = sections + index * entrySize;
    return {
      name: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 0x18)),
      size: Number(file.readBigUInt64LE(at + 0x20)),
    };
  };
  const names = header(file.readUInt16LE(0x3e));
  for (let index = 0; index < count; index++) {
    const { name, offset, size } = header(index);
    if (file.toString("latin1", names.offset + name, names.offset + name + 6) === ".text\0") {
      return file.subarray(offset, offset + size);
    }
  }
  throw new Error("no section .text");
}
