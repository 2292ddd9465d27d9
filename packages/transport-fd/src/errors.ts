import { defineError, defineErrors } from "@cpr/core";

/** What can go wrong with `fd:` URIs. */
export const descriptorTransportErrors = defineErrors({
  ERR_CPR_FD_URI: defineError<{ uri: string; text: string }>({
    category: "usage",
    when: "An `fd:` URI has neither a number nor a name.",
    message: ({ text }) => `Invalid file descriptor number '${text}'`,
    hint: () =>
      "Use fd:NUMBER for a descriptor that the process inherited, or fd:NAME for one that `getfd` gave a name.",
  }),
  ERR_CPR_FD_NOT_OPEN: defineError<{ uri: string; descriptor: number }>({
    category: "input",
    when: "An `fd:` URI has the number of a descriptor that is not open.",
    message: ({ descriptor }) => `Descriptor ${descriptor} cannot be used: Bad file descriptor`,
    hint: () => "The process must have been started with it, e.g. `cpr run … -incoming fd:3 3<&0`.",
  }),
  ERR_CPR_FD_FILE: defineError<{ uri: string }>({
    category: "usage",
    when: "An `fd:` URI names a descriptor that is neither a socket nor a pipe.",
    message: () => "fd: migration to a file is not supported. Use file: instead.",
    hint: () => "A descriptor of a file is used by `add-fd` or `-add-fd`, and file:/dev/fdset/N.",
  }),
  ERR_CPR_FD_KIND: defineError<{ uri: string; reason: string }>({
    category: "host",
    when: "An `fd:` URI names a socket of a kind that cannot be used, or a pipe's wrong end.",
    message: ({ uri, reason }) => `'${uri}' cannot be used: ${reason}`,
    hint: () => "Use a pipe, or a connected stream socket of the families AF_UNIX, AF_INET or AF_INET6.",
  }),
  ERR_CPR_FD_BROKEN: defineError<{ uri: string; reason: string }>({
    category: "input",
    when: "The other side of a descriptor ended the connection too early.",
    message: ({ uri, reason }) => `The connection of '${uri}' broke: ${reason}`,
  }),
});
