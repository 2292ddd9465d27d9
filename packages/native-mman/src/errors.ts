import { defineError, defineErrors } from "@cpr/core";

/** What is wrong with the addon itself. */
export const nativeErrors = defineErrors({
  ERR_CPR_NATIVE_UNAVAILABLE: defineError<{ reason: string }>({
    category: "host",
    when: "RAM in shared memory or a disk is asked for, and the native addon was not compiled or does not load.",
    message: ({ reason }) => `The addon for shared memory and disks cannot be used: ${reason}`,
    hint: () => "Install a C++ compiler (Debian: apt-get install g++) and run `pnpm install` again.",
  }),
});
