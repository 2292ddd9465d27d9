import { getSystemErrorMessage } from "node:util";

/** What went wrong in a system call, in the system's words and without the call's name: `No such file or directory`. */
export function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  if (errno === undefined) {
    return message;
  }
  const text = getSystemErrorMessage(errno);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
