import { defineError, defineErrors } from "../errors.ts";

/** What to do about an image that is not raw. */
const otherFormat = (path: string): string =>
  `Make a raw image of it, \`qemu-img convert -O raw ${path} DISK.raw\`, or have it shown as a block device, ` +
  `\`qemu-nbd --connect=/dev/nbd0 ${path}\`, and give that one with format=raw.`;

/** What can go wrong with the disks of a VM. */
export const blockErrors = defineErrors({
  ERR_CPR_NO_BLOCK_DRIVER: defineError<{ name: string; known: readonly string[]; path?: string }>({
    category: "input",
    when: "No plugin provides the format or driver of a disk, e.g. `qcow2`.",
    message: ({ name }) => `Unknown driver '${name}'`,
    hint: ({ path = "IMAGE", ...details }) => `${otherFormat(path)} Known: ${details.known.join(", ") || "none"}.`,
  }),
  ERR_CPR_BLOCK_OPEN: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "The image or block device of a disk cannot be opened.",
    message: ({ path, reason }) => `Could not open '${path}': ${reason}`,
  }),
  ERR_CPR_BLOCK_KIND: defineError<{ path: string }>({
    category: "input",
    when: "What a disk's image names is neither a regular file nor a block device.",
    message: ({ path }) => `Could not open '${path}': it is neither a regular file nor a block device`,
  }),
  ERR_CPR_BLOCK_FORMAT: defineError<{ path: string; format: string }>({
    category: "input",
    when: "A disk was given without its format, and its image looks like one in a format that is not raw.",
    message: ({ path, format }) => `'${path}' is an image in the format ${format}, not a raw one`,
    hint: ({ path }) => `${otherFormat(path)} If the guest is to see the file as it is, say format=raw.`,
  }),
  ERR_CPR_BLOCK_OPTION: defineError<{ id: string; option: string; reason: string }>({
    category: "usage",
    when: "A disk is asked for with an option that its driver does not have, or not on this host.",
    message: ({ id, option, reason }) => `The option '${option}' of the disk '${id}' ${reason}`,
  }),
  ERR_CPR_BLOCK_LOCKED: defineError<{ path: string; lock: string; pid?: number | undefined }>({
    category: "busy",
    when: "Another process, a VM of cpr or of QEMU, uses the image of a disk, and one of the two would write to it.",
    message: ({ lock }) => `Failed to get ${lock} lock`,
    hint: ({ path, pid }) =>
      `Is another process using the image [${path}]?${pid === undefined ? "" : ` It is process ${pid}.`}`,
  }),
  ERR_CPR_BLOCK_MOVED_ON: defineError<{ id: string; path: string }>({
    category: "refused",
    when: "`cont` of a VM that was saved, after another one has changed its disk.",
    message: ({ id, path }) => `The disk '${id}' (${path}) was changed since this VM was saved`,
    hint: () =>
      "The guest would damage it. Save the VM that has changed it, or load that one's checkpoint; end this one.",
  }),
  ERR_CPR_BLOCK_NO_LOCKS: defineError<{ path: string; reason: string }>({
    category: "host",
    when: "The file system of a disk's image has no locks.",
    message: ({ path, reason }) => `The image '${path}' cannot be locked: ${reason}`,
    hint: () => "With `file.locking=off` it is used all the same: see to it yourself that no other VM has it.",
  }),
  ERR_CPR_BLOCK_DUPLICATE: defineError<{ id: string }>({
    category: "usage",
    when: "Two disks have the same name or id.",
    message: ({ id }) => `Duplicate nodes with node-name='${id}'`,
  }),
  ERR_CPR_BLOCK_DEVICE: defineError<{ id: string; known: readonly string[]; user?: string | undefined }>({
    category: "input",
    when: "A device is to have a disk that was not given, or that another device has.",
    message: ({ id, user }) =>
      user === undefined ? `Property 'drive' can't find value '${id}'` : `Drive '${id}' is in use by device '${user}'`,
    hint: (details) => `There are: ${details.known.join(", ") || "none"}.`,
  }),
});
