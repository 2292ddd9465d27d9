import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { largestFrame, type NetworkLink } from "@cpr/core";
import { eventually, rejectsWithCprError, within } from "@cpr/testkit";
import { describe, expect, it, onTestFinished } from "vitest";
import { PasstBackend, StreamBackend, UserBackend } from "../src/index.ts";
import { FramePeer, listeningPlace } from "./frame-peer.ts";

const openStream = (properties: Record<string, string>): Promise<NetworkLink> =>
  new StreamBackend().open({ type: "stream", id: "n0", properties });

function counting(link: NetworkLink) {
  const seen = { frames: 0, changes: 0 };
  link.attach({
    receive: () => {
      seen.frames += 1;
      return true;
    },
    sendable: () => undefined,
    linkChanged: () => {
      seen.changes += 1;
    },
  });
  onTestFinished(() => link.close());
  return seen;
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "network-stream-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

describe("-netdev stream", () => {
  it.each([
    [{}, "addr.type"],
    [{ "addr.type": "fd" }, "addr.type"],
    [{ "addr.type": "unix" }, "addr.path"],
    [{ "addr.type": "unix", "addr.path": "x".repeat(108) }, "addr.path"],
    [{ "addr.type": "inet", "addr.host": "localhost" }, "addr.port"],
    [{ "addr.type": "inet", "addr.host": "localhost", "addr.port": "65536" }, "addr.port"],
    [{ "addr.type": "unix", "addr.path": "/x", server: "perhaps" }, "server"],
    [{ "addr.type": "unix", "addr.path": "/x", server: "on", reconnect: "1" }, "reconnect-ms"],
  ])("refuses %j", async (properties, name) => {
    const error = await rejectsWithCprError(openStream(properties), "ERR_CPR_NETWORK_PROPERTY");
    expect(error.details).toMatchObject({ id: "n0", property: name });
  });

  it("says who is not there, and waits for them if it is to", async () => {
    const path = join(await folder(), "switch.sock");
    const properties = { "addr.type": "unix", "addr.path": path };
    const impatient = await openStream(properties);
    const error = await rejectsWithCprError(impatient.start(), "ERR_CPR_NETWORK_CONNECT");
    expect(error.message).toBe(`Network 'n0': Failed to connect to 'unix:${path}': No such file or directory`);
    const link = await openStream({ ...properties, "reconnect-ms": "5" });
    const seen = counting(link);
    await link.start();
    expect(link.up).toBe(false);
    const server = createServer((socket) => socket.on("error", () => undefined).end()).listen(path);
    onTestFinished(() => void server.close());
    // It is ended at once, and tried again.
    await eventually(() => seen.changes >= 4, "two connections and their ends");
    link.stop();
  });

  it("ends a connection through which something else than frames comes", async () => {
    const peer = new FramePeer();
    const path = join(await folder(), "switch.sock");
    const server = createServer((socket) => peer.attach(socket)).listen(path);
    onTestFinished(() => void server.close());
    const link = await openStream({ "addr.type": "unix", "addr.path": path });
    const seen = counting(link);
    await link.start();
    await peer.send(new Uint8Array(largestFrame));
    await eventually(() => seen.frames === 1, "the largest frame");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(largestFrame + 1);
    peer.sendRaw(length);
    await eventually(() => !link.up, "the end of the connection");
    expect(link.send([new Uint8Array(60)])).toBe(true);
  });

  it("listens at a socket that was left over, and not at one where somebody is", async () => {
    const path = join(await folder(), "card.sock");
    const properties = { server: "on", "addr.type": "unix", "addr.path": path };
    await writeFile(path, "");
    const other = await openStream(properties);
    onTestFinished(() => other.close());
    await rejectsWithCprError(other.start(), "ERR_CPR_NETWORK_BUSY");
    await rm(path);
    await other.start();
    const link = await openStream(properties);
    onTestFinished(() => link.close());
    await rejectsWithCprError(link.start(), "ERR_CPR_NETWORK_BUSY");
    other.stop();
    await within(link.start(), "the start");
  });

  it("tells of the end of the other side", async () => {
    const place = await listeningPlace("unix");
    const link = await new StreamBackend().open(place.options);
    const seen = counting(link);
    await link.start();
    expect(seen.changes).toBe(1);
    await place.send(new Uint8Array(60));
    await eventually(() => seen.frames === 1, "a frame");
    await place.close();
    await eventually(() => seen.changes === 2, "the end");
    expect(link.up).toBe(false);
  });
});

describe("-netdev user and passt", () => {
  it("say how to get the program if it is not there", async () => {
    const link = await new PasstBackend().open({ type: "passt", id: "n0", properties: { path: "/no/such/passt" } });
    const error = await rejectsWithCprError(link.start(), "ERR_CPR_NETWORK_PASST_MISSING");
    expect(error.hint).toMatch(/apt-get install passt/);
    expect(link.up).toBe(false);
  });

  it("tell what the program says", async () => {
    const program = join(await folder(), "passt");
    await writeFile(program, "#!/bin/sh\necho first >&2\necho Failed to bind any port >&2\nexit 1\n", { mode: 0o755 });
    const link = await new PasstBackend().open({ type: "passt", id: "n0", properties: { path: program } });
    const error = await rejectsWithCprError(link.start(), "ERR_CPR_NETWORK_PASST");
    expect(error.message).toBe("Network 'n0': passt could not start: Failed to bind any port");
  });

  it.each([
    [{ hostfwd: "tcp::22" }, "hostfwd"],
    [{ hostfwd: "tcp::2222-10.0.2.16:22" }, "hostfwd"],
    [{ hostfwd: "tcp:somewhere:2222-:22" }, "hostfwd"],
    [{ dhcpstart: "somewhere" }, "dhcpstart"],
    [{ smb: "/home" }, "smb"],
  ])("refuse %j", async (properties, name) => {
    const error = await rejectsWithCprError(
      new UserBackend().open({ type: "user", id: "n0", properties }),
      "ERR_CPR_NETWORK_PROPERTY",
    );
    expect(error.details).toMatchObject({ property: name });
  });
});
