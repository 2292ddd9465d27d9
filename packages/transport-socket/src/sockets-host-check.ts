import type { HostCheck, HostFinding } from "@cpr/core";
import { isAvailable, nativeSocketErrors } from "@cpr/native-socket";

/** Whether the addon is there that does with sockets what Node cannot. */
export class SocketsHostCheck implements HostCheck {
  readonly name = "sockets";
  readonly summary = "Streams over vsock:, and descriptors that are handed over a socket";
  readonly #available: () => boolean;

  constructor(available: () => boolean = isAvailable) {
    this.#available = available;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const subject = "native addon";
    if (this.#available()) {
      return [{ subject, status: "ready", found: "native-socket" }];
    }
    const { message, hint = message } = nativeSocketErrors.ERR_CPR_NATIVE_SOCKET_UNAVAILABLE({
      reason: "it was not compiled or does not load",
    });
    return [{ subject, status: "missing", found: message, remedy: hint }];
  }
}
