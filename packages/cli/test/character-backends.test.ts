import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CharacterBackend, CharacterDeviceGuest } from "@cpr/core";
import { describe, expect, it, onTestFinished } from "vitest";
import type { CharacterBackendOptions, SocketAddress } from "../src/character-backends/backend-options.ts";
import { CharacterBackends } from "../src/character-backends/character-backends.ts";

/** The machine's side: remembers what it is told, and takes input when it is let. */
class Guest implements CharacterDeviceGuest {
  readonly told: string[] = [];
  take: (bytes: Uint8Array) => Promise<void> = async () => undefined;

  async input(bytes: Uint8Array): Promise<void> {
    this.told.push(Buffer.from(bytes).toString("latin1"));
    await this.take(bytes);
  }

  setOpened(opened: boolean): void {
    this.told.push(opened ? "opened" : "closed");
  }

  async until(...told: readonly string[]): Promise<void> {
    await until(() => this.told.length >= told.length);
    expect(this.told).toEqual(told);
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`it did not happen: ${condition}`);
    await delay(2);
  }
}

function scratch(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), "cpr-chardev-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, name);
}

async function open(options: CharacterBackendOptions): Promise<{ backend: CharacterBackend; all: CharacterBackends }> {
  const all = await CharacterBackends.open(new Map([["char0", options]]));
  const backend = all.devices.get("char0") as CharacterBackend;
  onTestFinished(() => backend.close?.());
  return { backend, all };
}

const server = (address: SocketAddress): CharacterBackendOptions => ({
  kind: "socket",
  address,
  server: true,
  wait: false,
});

/** A client that keeps what it reads. */
async function connectTo(path: string): Promise<{ socket: Socket; text(): string }> {
  const socket = connect(path).setEncoding("latin1");
  onTestFinished(() => void socket.destroy());
  let text = "";
  socket.on("data", (chunk) => {
    text += String(chunk);
  });
  await new Promise((resolve) => socket.once("connect", resolve));
  return { socket, text: () => text };
}

describe("a character device on a socket", () => {
  it("is open while a client is connected; output without one is dropped", async () => {
    const path = scratch("a.sock");
    const { backend } = await open(server({ kind: "unix", path }));
    const guest = new Guest();
    backend.connect?.(guest);
    expect(backend.opened).toBe(false);
    expect(backend.filename).toBe(`disconnected:unix:${path},server=on`);
    expect(backend.write(Buffer.from("nobody"))).toBeUndefined();
    const { socket, text } = await connectTo(path);
    await guest.until("opened");
    expect(backend.filename).toBe(`unix:${path},server=on`);
    backend.write(Buffer.from("hello"));
    socket.write("ping");
    await guest.until("opened", "ping");
    await until(() => text() === "hello");
    socket.end();
    await guest.until("opened", "ping", "closed");
    await backend.close?.();
    expect(existsSync(path)).toBe(false);
  });

  it("has one client at a time; what a client sends before it goes arrives", async () => {
    const path = scratch("b.sock");
    const { backend } = await open(server({ kind: "unix", path }));
    // Before there is a machine.
    const first = await connectTo(path);
    first.socket.end("first");
    const second = await connectTo(path);
    second.socket.write("second");
    const guest = new Guest();
    backend.connect?.(guest);
    await guest.until("opened", "first", "closed", "opened", "second");
    backend.write(Buffer.from("for the second"));
    await until(() => second.text() === "for the second");
    expect(first.text()).toBe("");
  });

  it("takes no more input than the guest takes", async () => {
    const path = scratch("c.sock");
    const { backend } = await open(server({ kind: "unix", path }));
    const guest = new Guest();
    let release: () => void = () => undefined;
    let received = 0;
    guest.take = (bytes) => {
      received += bytes.length;
      return new Promise((resolve) => {
        release = resolve;
      });
    };
    backend.connect?.(guest);
    const { socket } = await connectTo(path);
    const size = 4_000_000;
    socket.write(Buffer.alloc(size, "x"));
    await until(() => received > 0);
    await delay(50);
    expect(received).toBeLessThan(200_000);
    while (received < size) {
      release();
      await delay(1);
    }
    expect(received).toBe(size);
  });

  it("tells when a client that reads slowly has room again, or has gone", async () => {
    const path = scratch("d.sock");
    const { backend } = await open(server({ kind: "unix", path }));
    const guest = new Guest();
    backend.connect?.(guest);
    for (const how of ["reads", "goes"]) {
      const { socket } = await connectTo(path);
      socket.pause();
      await until(() => guest.told.at(-1) === "opened");
      let room: Promise<void> | undefined;
      while (room === undefined) room = backend.write(new Uint8Array(65_536));
      let told = false;
      void room.then(() => {
        told = true;
      });
      await delay(20);
      expect(told).toBe(false);
      if (how === "reads") socket.resume();
      else socket.destroy();
      await until(() => told);
      socket.destroy();
      await until(() => guest.told.at(-1) === "closed");
    }
  });

  it("ends although a client does not read", async () => {
    const path = scratch("e.sock");
    const { backend } = await open(server({ kind: "unix", path }));
    const guest = new Guest();
    backend.connect?.(guest);
    const { socket } = await connectTo(path);
    socket.pause();
    await guest.until("opened");
    while (backend.write(new Uint8Array(65_536)) === undefined);
    await backend.close?.();
    expect(guest.told).toEqual(["opened"]);
  });

  it("may be a TCP port, or connect to one", async () => {
    const peer = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => peer.once("listening", resolve));
    const { port } = peer.address() as { port: number };
    const accepted = new Promise<Socket>((resolve) => peer.once("connection", resolve));
    const address = { kind: "tcp", host: "127.0.0.1", port } as const;
    const { backend } = await open({ kind: "socket", address, server: false, wait: false });
    const guest = new Guest();
    backend.connect?.(guest);
    const socket = await accepted;
    socket.write("from the server");
    await guest.until("opened", "from the server");
    expect(backend.filename).toBe(`tcp:127.0.0.1:${port} <-> 127.0.0.1:${port}`);
    await expect(open(server(address))).rejects.toThrow(`Failed to bind socket to 127.0.0.1:${port}: Address already`);
    socket.destroy();
    peer.close();
    await guest.until("opened", "from the server", "closed");
    const { backend: listening } = await open(server(address));
    const other = new Guest();
    listening.connect?.(other);
    const client = connect(port, "127.0.0.1");
    client.write("x");
    await other.until("opened", "x");
    client.destroy();
  });

  it("says where nobody listens, and leaves nothing open then", async () => {
    const path = scratch("f.sock");
    const listening = scratch("g.sock");
    const wanted = new Map([
      ["a", server({ kind: "unix", path: listening })],
      ["b", { kind: "socket", address: { kind: "unix", path }, server: false, wait: false } as const],
    ]);
    await expect(CharacterBackends.open(wanted)).rejects.toMatchObject({
      code: "ERR_CPR_CHARDEV_CONNECT",
      message: `Failed to connect to '${path}': No such file or directory`,
    });
    expect(existsSync(listening)).toBe(false);
  });
});

describe("a character device on a pseudoterminal", () => {
  it("is open while somebody has the terminal open", async () => {
    const { backend } = await open({ kind: "pty" });
    const guest = new Guest();
    backend.connect?.(guest);
    expect(backend.filename).toMatch(/^pty:\/dev\/pts\/\d+$/);
    expect(backend.write(Buffer.from("nobody"))).toBeUndefined();
    const terminal = openSync(backend.filename.slice("pty:".length), "r+");
    await guest.until("opened");
    writeSync(terminal, "typed\r");
    await guest.until("opened", "typed\r");
    backend.write(Buffer.from("shown"));
    const buffer = Buffer.alloc(20);
    expect(buffer.toString("latin1", 0, readSync(terminal, buffer))).toBe("shown");
    // Nobody reads; then nobody is there.
    let room: Promise<void> | undefined;
    while (room === undefined) room = backend.write(new Uint8Array(4096));
    closeSync(terminal);
    await room;
    await guest.until("opened", "typed\r", "closed");
  });
});

describe("a character device on a file", () => {
  it("empties it, or appends to it", async () => {
    const path = scratch("log");
    for (const [append, expected] of [
      [false, "one"],
      [true, "oneone"],
      [false, "one"],
    ] as const) {
      const { backend } = await open({ kind: "file", path, append });
      backend.write(Buffer.from("one"));
      expect(readFileSync(path, "latin1")).toBe(expected);
      expect(backend.filename).toBe("file");
    }
  });
});
