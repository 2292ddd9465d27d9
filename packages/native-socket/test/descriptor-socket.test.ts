import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { loadAddon } from "../src/addon.ts";
import {
  DescriptorServer,
  DescriptorSocket,
  duplicate,
  isAvailable,
  nativeSocketErrors,
  takeDescriptors,
} from "../src/index.ts";

let folder = "";
let path = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "native-socket-"));
  path = join(folder, "socket");
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Two ends of a connection. */
async function pair(): Promise<[DescriptorSocket, DescriptorSocket]> {
  const { promise, resolve } = Promise.withResolvers<DescriptorSocket>();
  const server = DescriptorServer.listen([path], resolve);
  const client = await DescriptorSocket.connect([path]);
  const accepted = await promise;
  server.close();
  onTestFinished(() => {
    client.destroy();
    accepted.destroy();
  });
  return [client, accepted];
}

const fileOf = (descriptor: number): string => readlinkSync(`/proc/self/fd/${descriptor}`);

describe("descriptors", () => {
  it("arrive with the bytes that they were sent with, as descriptors of the same open files", async () => {
    const [client, server] = await pair();
    const descriptor = openSync(join(folder, "file"), "w");
    await client.send(Buffer.from("one"), [descriptor, 1]);
    const bytes = await new Promise<Buffer>((resolve) => server.once("data", resolve));
    const received = takeDescriptors(bytes);
    expect(bytes.toString()).toBe("one");
    expect(received).toHaveLength(2);
    expect(fstatSync(received[0] as number).ino).toBe(fstatSync(descriptor).ino);
    expect(fileOf(received[1] as number)).toBe(fileOf(1));
    // Closed on exec (02000000), for writing (01).
    expect(readFileSync(`/proc/self/fdinfo/${received[0]}`, "latin1")).toMatch(/flags:\s*02\d*1/);
    expect(takeDescriptors(bytes)).toEqual([]);
    for (const each of [descriptor, ...received]) closeSync(each);
  });

  it("belong to the chunk that they came with, also when several wait", async () => {
    const [client, server] = await pair();
    const descriptors = ["a", "b"].map((name) => openSync(join(folder, name), "w"));
    await client.send(Buffer.from("first"), [descriptors[0] as number]);
    await client.send(Buffer.from("second"), []);
    await client.send(Buffer.from("third"), [descriptors[1] as number]);
    client.end();
    const chunks: [string, string[]][] = [];
    server.on("data", (chunk: Buffer) => {
      const received = takeDescriptors(chunk);
      chunks.push([String(chunk), received.map((each) => fileOf(each).slice(folder.length + 1))]);
      for (const each of received) closeSync(each);
    });
    await new Promise((resolve) => server.once("end", resolve));
    expect(chunks[0]).toEqual(["first", ["a"]]);
    expect(
      chunks
        .slice(1)
        .map(([text]) => text)
        .join(""),
    ).toBe("secondthird");
    // What was sent before without descriptors may be in the same chunk.
    expect(chunks.at(-1)).toEqual([expect.stringMatching(/third$/), ["b"]]);
    for (const each of descriptors) closeSync(each);
  });

  it("can be copied", () => {
    const copy = duplicate(1);
    expect(copy).not.toBe(1);
    expect(fileOf(copy)).toBe(fileOf(1));
    closeSync(copy);
    expect(() => duplicate(copy)).toThrow(expect.objectContaining({ code: "EBADF" }));
  });
});

describe("a DescriptorSocket", () => {
  it("carries much in both directions at once", async () => {
    const [client, server] = await pair();
    const bytes = Buffer.alloc(3_000_000, "0123456789abcdef");
    server.pipe(server);
    client.end(bytes);
    const chunks: Buffer[] = [];
    for await (const chunk of client) chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
  });

  it("talks with Node's own sockets", async () => {
    const server = DescriptorServer.listen([path], (socket) => socket.end("hello"));
    expect(await readAll(connect(path))).toBe("hello");
    server.close();
    expect(existsSync(path)).toBe(false);
    const node = createServer((socket) => socket.end("hello from Node")).listen(path);
    await new Promise((resolve) => node.once("listening", resolve));
    expect(await readAll(await DescriptorSocket.connect([path]))).toBe("hello from Node");
    node.close();
  });

  it("says why it cannot connect or listen, in Node's terms", async () => {
    await expect(DescriptorSocket.connect([path])).rejects.toMatchObject({ code: "ENOENT", syscall: "connect" });
    const server = DescriptorServer.listen([path], () => undefined);
    expect(() => DescriptorServer.listen([path], () => undefined)).toThrow(
      expect.objectContaining({ code: "EADDRINUSE", syscall: "bind" }),
    );
    server.close();
    server.close();
    await expect(DescriptorSocket.connect([`${path}${"x".repeat(120)}`])).rejects.toThrow("1 to 107 bytes");
  });

  it("fails to write when the other side is gone", async () => {
    const [client, server] = await pair();
    client.on("error", () => undefined);
    server.destroy();
    await new Promise((resolve) => server.once("close", resolve));
    await expect(client.send(Buffer.from("x"), [])).rejects.toMatchObject({ code: "EPIPE" });
  });

  it("leaves no descriptor open", async () => {
    const open = () => readdirSync("/proc/self/fd").length;
    const ends = async () => {
      const sockets = await pair();
      const closed = sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
      for (const socket of sockets) socket.destroy();
      await Promise.all(closed);
    };
    await ends();
    const before = open();
    for (let round = 0; round < 5; round++) await ends();
    // What a test before has left may be closed only now.
    expect(open()).toBeLessThanOrEqual(before);
  });
});

describe("a process", () => {
  it("lives while a socket is open, and ends when none is, or when it is told to", () => {
    const module = new URL("../dist/index.js", import.meta.url).href;
    const program = `
      const { DescriptorServer, DescriptorSocket } = await import(${JSON.stringify(module)});
      const server = DescriptorServer.listen([process.argv[1]], (socket) => {
        setTimeout(() => socket.end("late"), 50);
        socket.resume();
        server.close();
      });
      const client = await DescriptorSocket.connect([process.argv[1]]);
      client.on("data", (bytes) => console.log(bytes.toString()));
      client.on("end", () => client.end());
      if (process.argv[2] === "exit") process.exit(3);
    `;
    const run = (...args: string[]) =>
      spawnSync(process.execPath, ["--input-type=module", "-e", program, ...args], { encoding: "utf8" });
    const { status, stdout, stderr } = run(path);
    expect([status, stdout, stderr]).toEqual([0, "late\n", ""]);
    rmSync(path, { force: true });
    expect(run(path, "exit").status).toBe(3);
  });
});

describe("the addon", () => {
  it("is here", () => {
    expect(isAvailable()).toBe(true);
  });

  it("is missed with a code", () => {
    const { code } = nativeSocketErrors.ERR_CPR_NATIVE_SOCKET_UNAVAILABLE({ reason: "" });
    expect(() => loadAddon("../build/none.node")).toThrow(expect.objectContaining({ code }));
  });
});

async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}
