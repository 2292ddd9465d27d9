import { defineError, defineErrors } from "@cpr/core";

/** What is wrong with the addon itself. */
export const nativeSocketErrors = defineErrors({
  ERR_CPR_NATIVE_SOCKET_UNAVAILABLE: defineError<{ reason: string }>({
    category: "host",
    when: "A descriptor is to be sent or received, or a vsock or pseudoterminal used, and the native addon was not compiled or does not load.",
    message: ({ reason }) => `The addon for sockets cannot be used: ${reason}`,
    hint: () => "Install a C++ compiler (Debian: apt-get install g++) and run `pnpm install` again.",
  }),
});
