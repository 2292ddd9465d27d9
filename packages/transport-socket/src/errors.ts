import { defineError, defineErrors } from "@cpr/core";

type SocketFailure = { readonly uri: string; readonly reason: string };

/** What can go wrong with socket URIs. */
export const socketErrors = defineErrors({
  ERR_CPR_SOCKET_URI: defineError<{ uri: string; expected: string }>({
    category: "usage",
    when: "A `tcp:`, `unix:` or `vsock:` URI is malformed.",
    message: ({ uri, expected }) => `'${uri}' is not ${expected}`,
  }),
  ERR_CPR_SOCKET_CONNECT: defineError<SocketFailure>({
    category: "input",
    when: "Nobody listens at the address of a socket URI, or it cannot be reached.",
    message: ({ uri, reason }) => `Failed to connect to '${uri}': ${reason}`,
    hint: () => "Start the receiving side first, with `-incoming` and the same URI.",
  }),
  ERR_CPR_SOCKET_LISTEN: defineError<SocketFailure>({
    category: "input",
    when: "The address of a socket URI cannot be listened at.",
    message: ({ uri, reason }) => `Failed to listen at '${uri}': ${reason}`,
  }),
  ERR_CPR_SOCKET_BROKEN: defineError<SocketFailure>({
    category: "input",
    when: "The other side of a socket ended the connection too early.",
    message: ({ uri, reason }) => `The connection to '${uri}' broke: ${reason}`,
  }),
});
