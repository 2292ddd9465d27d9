import type { FileHandle } from "node:fs/promises";

/** Where and how images of formats that are not raw begin. */
const signatures: readonly { readonly format: string; readonly offset: number; readonly bytes: Uint8Array }[] = [
  // QEMU docs/interop/qcow2.rst; version 1 begins alike.
  { format: "qcow2", offset: 0, bytes: Buffer.from("QFI\u00fb", "latin1") },
  // QEMU docs/interop/qed_spec.rst
  { format: "qed", offset: 0, bytes: Buffer.from("QED\0", "latin1") },
  // VMware Virtual Disks, Virtual Disk Format 1.1: sparse extents, and a descriptor in a file of its own
  { format: "vmdk", offset: 0, bytes: Buffer.from("KDMV", "latin1") },
  { format: "vmdk", offset: 0, bytes: Buffer.from("COWD", "latin1") },
  { format: "vmdk", offset: 0, bytes: Buffer.from("# Disk DescriptorFile", "latin1") },
  // VirtualBox: the signature 0xbeda107f behind 64 bytes of text
  { format: "vdi", offset: 64, bytes: Uint8Array.of(0x7f, 0x10, 0xda, 0xbe) },
  // [MS-VHDX] §2.2.1
  { format: "vhdx", offset: 0, bytes: Buffer.from("vhdxfile", "latin1") },
  // Virtual Hard Disk Image Format Specification 1.0: a copy of the footer, in dynamic images
  { format: "vpc", offset: 0, bytes: Buffer.from("conectix", "latin1") },
  // QEMU docs/interop/parallels.rst
  { format: "parallels", offset: 0, bytes: Buffer.from("WithoutFreeSpace", "latin1") },
  { format: "parallels", offset: 0, bytes: Buffer.from("WithouFreSpacExt", "latin1") },
];

const headLength = 128;

/** The format that an image looks like, by QEMU's name; undefined if it may be raw. */
export async function imageFormat(file: FileHandle): Promise<string | undefined> {
  const head = Buffer.alloc(headLength);
  await file.read(head, 0, headLength, 0);
  return signatures.find(({ offset, bytes }) => head.subarray(offset, offset + bytes.length).equals(bytes))?.format;
}
