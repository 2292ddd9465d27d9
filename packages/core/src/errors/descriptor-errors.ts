import { defineError, defineErrors } from "../errors.ts";

/** What can go wrong with descriptors that the user hands over. Texts are QEMU's. */
export const descriptorErrors = defineErrors({
  ERR_CPR_FDSET_ID: defineError<{ set: number }>({
    category: "usage",
    when: "A set of descriptors has a negative number.",
    message: () => "Parameter 'fdset-id' expects a non-negative value",
  }),
  ERR_CPR_FDSET_UNKNOWN: defineError<{ set: number; uri?: string }>({
    category: "input",
    when: "A path `/dev/fdset/N` names a set of descriptors that there is not.",
    message: ({ set }) => `Failed to find fdset /dev/fdset/${set}`,
    hint: () => "Add a descriptor to it first: `add-fd`, or `-add-fd` on the command line.",
  }),
  ERR_CPR_FDSET_FLAGS: defineError<{ set: number; flags: number; uri?: string }>({
    category: "input",
    when: "A set of descriptors has none with the access mode, and with or without O_DIRECT, that is wanted.",
    message: ({ flags }) => `Failed to find file descriptor with matching flags=0x${flags.toString(16)}`,
    hint: () =>
      "Saving needs a descriptor that was opened for writing only, loading one for reading only; `direct-io` needs another " +
      "one with O_DIRECT.",
  }),
  ERR_CPR_FD_NOT_FOUND: defineError<{ name: string }>({
    category: "input",
    when: "A descriptor that is to be closed or removed is not there.",
    message: ({ name }) => `File descriptor named '${name}' not found`,
  }),
  ERR_CPR_FD_UNKNOWN: defineError<{ name: string; uri: string }>({
    category: "input",
    when: "A URI `fd:NAME` has a name that no descriptor has.",
    message: ({ name }) => `File descriptor named '${name}' has not been found`,
    hint: () => "Hand it over first, with `getfd`. It is used up by the first migration.",
  }),
  ERR_CPR_FD_NAME: defineError<{ name: string }>({
    category: "usage",
    when: "A descriptor is to have a name that begins with a digit.",
    message: () => "Parameter 'fdname' expects a name not starting with a digit",
  }),
});
