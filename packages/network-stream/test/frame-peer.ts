import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { experimentalEthernetType, type NetworkPlace } from "@cpr/testkit/network-backend";

const lengthSize = 4;
const typeOffset = 12;

/** The other end of a `-netdev stream`, with sockets of Node: frames go out behind their length and come in the same way. */
export class FramePeer {
  readonly received: Uint8Array[] = [];
  #socket: Socket | undefined;
  #attached = Promise.withResolvers<void>();
  #rest = Buffer.alloc(0);

  attach(socket: Socket): void {
    this.#socket = socket;
    this.#rest = Buffer.alloc(0);
    this.#attached.resolve();
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
  }

  async send(frame: Uint8Array): Promise<void> {
    await this.#attached.promise;
    const length = Buffer.alloc(lengthSize);
    length.writeUInt32BE(frame.length);
    // The length comes alone, and the frame in pieces, as a socket may do it.
    this.#socket?.write(length.subarray(0, 1));
    this.#socket?.write(Buffer.concat([length.subarray(1), frame.subarray(0, 7)]));
    this.#socket?.write(frame.slice(7));
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: Uint8Array): void {
    this.#socket?.write(bytes);
  }

  take(on: boolean): void {
    if (on) this.#socket?.resume();
    else this.#socket?.pause();
  }

  end(): void {
    this.#socket?.destroy();
  }

  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= lengthSize) {
      const next = lengthSize + this.#rest.readUInt32BE();
      if (this.#rest.length < next) return;
      const frame = this.#rest.subarray(lengthSize, next);
      this.#rest = this.#rest.subarray(next);
      if (frame.length > typeOffset + 1 && frame.readUInt16BE(typeOffset) === experimentalEthernetType) {
        this.received.push(new Uint8Array(frame));
      }
    }
  }
}

/** A folder for sockets, removed at the end. */
export async function socketFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "network-stream-"));
}

/** A place whose other end listens, at a Unix socket or over TCP. */
export async function listeningPlace(kind: "unix" | "inet"): Promise<NetworkPlace> {
  const folder = await socketFolder();
  const path = join(folder, "switch.sock");
  const peer = new FramePeer();
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    peer.attach(socket);
  });
  await once(kind === "unix" ? server.listen(path) : server.listen(0, "127.0.0.1"), "listening");
  const properties: Record<string, string> =
    kind === "unix"
      ? { server: "off", "addr.type": "unix", "addr.path": path }
      : {
          "addr.type": "inet",
          "addr.host": "localhost",
          "addr.port": String((server.address() as AddressInfo).port),
        };
  return {
    options: { type: "stream", id: "n0", properties },
    received: peer.received,
    send: async (frame) => peer.send(frame),
    take: (on) => peer.take(on),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** A place whose other end connects to the link, again and again. */
export async function connectingPlace(): Promise<NetworkPlace> {
  const folder = await socketFolder();
  const path = join(folder, "card.sock");
  const peer = new FramePeer();
  let wanted = true;
  let socket: Socket | undefined;
  const tryToConnect = (): void => {
    if (!wanted) return;
    socket = connect(path);
    socket.on("connect", () => peer.attach(socket as Socket));
    socket.on("error", () => undefined).on("close", () => setTimeout(tryToConnect, 5));
  };
  tryToConnect();
  return {
    options: { type: "stream", id: "n0", properties: { server: "on", "addr.type": "unix", "addr.path": path } },
    received: peer.received,
    send: async (frame) => peer.send(frame),
    take: (on) => peer.take(on),
    close: async () => {
      wanted = false;
      socket?.destroy();
      await rm(folder, { recursive: true });
    },
  };
}
