import { type BzImage, isBzImage, parseBzImage } from "./bz-image.ts";
import { type ElfImage, isElf, parseElf } from "./elf-image.ts";
import { bootErrors } from "./errors.ts";

/** A kernel as the user gave it. */
export type KernelFile =
  | { readonly kind: "bzImage"; readonly image: BzImage }
  | { readonly kind: "elf"; readonly image: ElfImage };

/**
 * Finds out what kind of kernel a file is and checks that it is whole. Nothing is unpacked or copied.
 *
 * @param path for messages
 * @throws {CprError} if it is not a kernel that can be loaded, or truncated.
 */
export function parseKernel(file: Uint8Array, path: string): KernelFile {
  if (file.length === 0) {
    throw bootErrors.ERR_CPR_KERNEL_FORMAT({ path, reason: "the file is empty" });
  }
  if (isElf(file)) {
    return { kind: "elf", image: parseElf(file, path) };
  }
  if (isBzImage(file)) {
    return { kind: "bzImage", image: parseBzImage(file, path) };
  }
  throw bootErrors.ERR_CPR_KERNEL_FORMAT({ path, reason: "it is neither a bzImage nor an ELF file" });
}

/** The end of the memory that a kernel occupies before it looks at the memory map. */
export function kernelEnd(kernel: KernelFile): number {
  if (kernel.kind === "bzImage") {
    return kernel.image.preferredAddress + kernel.image.initialSize;
  }
  return Math.max(...kernel.image.segments.map(({ physicalAddress, memorySize }) => physicalAddress + memorySize));
}
