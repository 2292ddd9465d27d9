import { defineError, defineErrors } from "@cpr/core";

function mebibytes(size: number): string {
  return `${Math.ceil(size / 2 ** 20)} MiB`;
}

/** Errors of loading a kernel. */
export const bootErrors = defineErrors({
  ERR_CPR_KERNEL_FORMAT: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "The file given as a kernel is not one that can be loaded.",
    message: ({ path, reason }) => `'${path}' is not a kernel that can be loaded: ${reason}`,
    hint: () => "Give a bzImage (Debian's /boot/vmlinuz-*) or a vmlinux ELF file of a 64-bit x86 kernel.",
  }),
  ERR_CPR_KERNEL_TRUNCATED: defineError<{ path: string; size: number; needed: number }>({
    category: "input",
    when: "A kernel file ends before the place where its header says that it ends.",
    message: ({ path, size, needed }) => `Kernel '${path}' is truncated: it has ${size} of at least ${needed} bytes`,
    hint: () => "Copy or download the file again.",
  }),
  ERR_CPR_KERNEL_DAMAGED: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "The compressed part of a kernel file cannot be unpacked.",
    message: ({ path, reason }) => `Kernel '${path}' is damaged: ${reason}`,
    hint: () => "Copy or download the file again.",
  }),
  ERR_CPR_KERNEL_RAM: defineError<{ path: string; needed: number; available: number }>({
    category: "input",
    when: "Guest RAM is too small for the kernel and its initrd.",
    message: ({ path, needed, available }) =>
      `Guest RAM of ${mebibytes(available)} is too small for kernel '${path}' and its initrd, which need ${mebibytes(needed)}`,
    hint: ({ needed }) => `Give the VM more RAM, e.g. -m ${Math.ceil((needed + 2 ** 26) / 2 ** 26) * 64}M.`,
  }),
  ERR_CPR_KERNEL_PLACE: defineError<{ path: string; address: number; size: number }>({
    category: "input",
    when: "An ELF kernel wants to be loaded where the guest has no free RAM.",
    message: ({ path, address, size }) =>
      `Kernel '${path}' wants ${size} bytes at 0x${address.toString(16)}, where there is no free RAM`,
    hint: () => "Link it at 1 MiB or above, and below the end of the guest's RAM.",
  }),
  ERR_CPR_COMMAND_LINE_LENGTH: defineError<{ length: number; limit: number }>({
    category: "input",
    when: "The kernel command line is longer than the kernel takes.",
    message: ({ length, limit }) => `The kernel command line has ${length} bytes; this kernel takes ${limit}`,
    hint: () => "Shorten the text given with -append.",
  }),
});
