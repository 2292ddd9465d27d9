/** What the C library says for the error codes that users meet; libuv's words are others. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  EADDRINUSE: "Address already in use",
  EADDRNOTAVAIL: "Cannot assign requested address",
  EAFNOSUPPORT: "Address family not supported by protocol",
  EBADF: "Bad file descriptor",
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  EFBIG: "File too large",
  EHOSTUNREACH: "No route to host",
  EINVAL: "Invalid argument",
  EIO: "Input/output error",
  EISDIR: "Is a directory",
  ELOOP: "Too many levels of symbolic links",
  ENAMETOOLONG: "File name too long",
  ENETUNREACH: "Network is unreachable",
  ENODEV: "No such device",
  ENOENT: "No such file or directory",
  ENOSPC: "No space left on device",
  ENOTDIR: "Not a directory",
  ENOTFOUND: "Name or service not known",
  ENOTSOCK: "Socket operation on non-socket",
  ENXIO: "No such device or address",
  EPERM: "Operation not permitted",
  EPIPE: "Broken pipe",
  EROFS: "Read-only file system",
  ETIMEDOUT: "Connection timed out",
  ETXTBSY: "Text file busy",
  // EDQUOT, of which libuv does not know the name.
  "Unknown system error -122": "Disk quota exceeded",
};

/** Why something of the system failed, as people know it from the C library (strerror(3)). */
export function systemReason(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  return reasons[code] ?? (cause instanceof Error ? cause.message : String(cause));
}
