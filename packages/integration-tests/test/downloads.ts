import { createHash } from "node:crypto";
import { createServer, type RequestListener, type Server } from "node:http";
import type { Writable } from "node:stream";

/** A web server of this machine. */
export interface WebServer {
  readonly url: string;
  close(): void;
}

/** Serves at an address of this machine, at a port that is free. */
export async function serve(address: string, listener: RequestListener): Promise<WebServer> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const at = server.address();
  if (at === null || typeof at === "string") throw new Error("The server has no port.");
  return {
    url: `http://${address}:${at.port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const blockSize = 16_384;

/** Something to download that goes on until it is told to end: each block differs from the one before, and comes after a pause. */
export class LongDownload {
  /** How many blocks have been handed to the network so far. */
  sent = 0;
  readonly #hash = createHash("sha256");
  #isToEnd = false;

  /** Lets the download come to its end. */
  end(): void {
    this.#isToEnd = true;
  }

  /** The sum of all of it, once it has been sent; may be asked for once. */
  sum(): string {
    return this.#hash.digest("hex");
  }

  /** Sends it to somebody, one only. */
  feed(receiver: Writable): void {
    const send = (): void => {
      if (this.#isToEnd) {
        receiver.end();
        return;
      }
      const data = Buffer.alloc(blockSize, createHash("sha512").update(String(this.sent)).digest());
      this.#hash.update(data);
      this.sent += 1;
      receiver.write(data, () => setTimeout(send, 20));
    };
    send();
  }
}
