import { type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";
import { passtProgram } from "./passt-backends.ts";

/** Whether the program is there that gives guests a network without any privilege. */
export class PasstHostCheck implements HostCheck {
  readonly name = "passt";
  readonly summary = "Networks without privileges (-netdev user, -netdev passt)";
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost()) {
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const subject = passtProgram;
    const path = this.#host.program(passtProgram);
    return [
      path === undefined
        ? {
            subject,
            status: "missing",
            found: "not installed",
            remedy: "Install the package passt (Debian: apt-get install passt); -netdev tap does not need it.",
          }
        : { subject, status: "ready", found: path },
    ];
  }
}
