import { closeSync } from "node:fs";
import { type HostCheck, type HostFinding, isCprError } from "@cpr/core";
import { createMemfd, reasonOf } from "@cpr/native-mman";

/** Whether files without a name can be made in memory. */
export class MemfdHostCheck implements HostCheck {
  readonly name = "memfd";
  readonly summary = "RAM in a file without a name (memory-backend-memfd)";
  readonly #create: typeof createMemfd;

  constructor(create: typeof createMemfd = createMemfd) {
    this.#create = create;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const subject = "memfd_create";
    try {
      closeSync(this.#create("cpr-doctor"));
      return [{ subject, status: "ready", found: "works" }];
    } catch (error) {
      return [{ subject, status: "missing", ...refusal(error) }];
    }
  }
}

function refusal(error: unknown): Required<Pick<HostFinding, "found" | "remedy">> {
  const other = "RAM in /dev/shm (memory-backend-shm) does the same.";
  return isCprError(error)
    ? { found: error.message, remedy: error.hint ?? other }
    : {
        found: reasonOf(error),
        remedy:
          (error as NodeJS.ErrnoException).code === "EACCES"
            ? "Set vm.memfd_noexec to 1 or 0 (sysctl vm.memfd_noexec=1): 2 forbids memfds that do not say that nobody executes them."
            : other,
      };
}
