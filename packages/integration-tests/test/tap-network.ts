import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { Writable } from "node:stream";
import { ensureDebianPackages } from "../../../tools/debian-archive.ts";

/** Whether this process may make a tap device. */
export function mayMakeTaps(): boolean {
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  return process.getuid?.() === 0;
}

/** A network between this machine and a guest: a tap device, with this machine's address on it. */
export interface TapNetwork {
  readonly device: string;
  readonly hostAddress: string;
  readonly guestAddress: string;
  readonly mask: string;
  remove(): void;
}

/** Makes a tap device that no other process of the tests has. */
export async function makeTapNetwork(): Promise<TapNetwork> {
  await ensureDebianPackages(["iproute2"]);
  const device = `cpr${process.pid}`;
  // One of the networks of 4 addresses in 198.18.0.0/15, which is for tests of networks (RFC 2544) and routed nowhere.
  const network = (process.pid % 16_384) * 4;
  const address = (last: number): string => `198.18.${network >> 8}.${(network & 255) + last}`;
  const ip = (words: string): void => void execFileSync("ip", words.split(" "), { stdio: "pipe" });
  ip(`tuntap add dev ${device} mode tap`);
  ip(`address add ${address(1)}/30 dev ${device}`);
  ip(`link set dev ${device} up`);
  return {
    device,
    hostAddress: address(1),
    guestAddress: address(2),
    mask: "255.255.255.252",
    remove: () => ip(`link delete dev ${device}`),
  };
}

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
