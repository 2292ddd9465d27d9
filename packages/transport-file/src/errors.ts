import { type CprError, defineError, defineErrors, isCprError, systemReason } from "@cpr/core";

type FileFailure = { readonly uri: string; readonly path: string; readonly reason: string };

/** What can go wrong with `file:` URIs. */
export const fileErrors = defineErrors({
  ERR_CPR_FILE_URI: defineError<{ uri: string }>({
    category: "usage",
    when: "A `file:` URI has no path.",
    message: ({ uri }) => `'${uri}' has no path`,
    hint: () => "A file URI is file:PATH or file:PATH,offset=N.",
  }),
  ERR_CPR_FILE_OFFSET: defineError<{ uri: string; offset: string }>({
    category: "usage",
    when: "The offset of a `file:` URI is not a size.",
    message: ({ offset }) => `file URI has bad offset ${offset}: Invalid argument`,
    hint: () => "An offset is decimal with an optional suffix (4096, 1M), or hexadecimal without one (0x1000).",
  }),
  ERR_CPR_FILE_FDSET: defineError<{ uri: string; path: string }>({
    category: "usage",
    when: "A path begins with `/dev/fdset/`, and no number follows.",
    message: ({ path }) => `Could not parse fdset ${path}`,
  }),
  ERR_CPR_FILE_OPEN: defineError<FileFailure>({
    category: "input",
    when: "A checkpoint file cannot be opened or created.",
    message: ({ path, reason }) => `Could not open '${path}': ${reason}`,
  }),
  ERR_CPR_FILE_DIRECT: defineError<FileFailure>({
    category: "host",
    when: "A checkpoint file cannot be opened with O_DIRECT, which `direct-io` asks for.",
    message: ({ path, reason }) => `Could not open '${path}': ${reason}`,
    hint: () => "Switch direct-io off, or choose a file on another file system.",
  }),
  ERR_CPR_FILE_WRITE: defineError<FileFailure>({
    category: "host",
    when: "A checkpoint file cannot be written or made durable; what stood there before is intact.",
    message: ({ path, reason }) => `Could not write '${path}': ${reason}`,
  }),
  ERR_CPR_FILE_READ: defineError<FileFailure>({
    category: "host",
    when: "A checkpoint file cannot be read.",
    message: ({ path, reason }) => `Could not read '${path}': ${reason}`,
  }),
});

/** One of the functions that make an error about a file. */
export type FileErrorFactory = typeof fileErrors.ERR_CPR_FILE_OPEN;

/** Turns what a file operation threw into an error of the table, unless it is an error of a table already. */
export function fileError(factory: FileErrorFactory, uri: string, path: string, cause: unknown): CprError {
  if (isCprError(cause)) {
    return cause;
  }
  return factory({ uri, path, reason: systemReason(cause) }, { cause });
}
