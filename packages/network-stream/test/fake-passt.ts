import { once } from "node:events";
import { chmod, rm, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { NetworkPlace } from "@cpr/testkit/network-backend";
import { FramePeer, socketFolder } from "./frame-peer.ts";

/**
 * A program that does with its descriptor what passt does: it goes to the background when it is ready, and ends when the
 * connection does. What comes goes to a socket in its folder, and back.
 */
const script = `#!${process.execPath}
const { connect, Socket } = require("node:net");
const { spawn } = require("node:child_process");
const { join } = require("node:path");
const fd = Number(process.argv[process.argv.indexOf("--fd") + 1]);
if (process.env.FAKE_PASST_CHILD === undefined) {
  const child = spawn(process.execPath, [__filename, ...process.argv.slice(2)], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", fd, "ipc"],
    env: { ...process.env, FAKE_PASST_CHILD: "1" },
  });
  child.once("message", () => process.exit(0));
} else {
  const link = new Socket({ fd: 3, readable: true, writable: true });
  const peer = connect(join(__dirname, "peer.sock"), () => process.send("ready", () => process.disconnect()));
  link.pipe(peer).pipe(link);
  for (const each of [link, peer]) each.on("error", () => process.exit(0)).on("close", () => process.exit(0));
}
`;

/** A place behind that program. */
export async function fakePasstPlace(): Promise<NetworkPlace> {
  const folder = await socketFolder();
  const program = join(folder, "passt.cjs");
  await writeFile(program, script);
  await chmod(program, 0o755);
  const peer = new FramePeer();
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    peer.attach(socket);
  });
  await once(server.listen(join(folder, "peer.sock")), "listening");
  return {
    options: { type: "passt", id: "n0", properties: { path: program } },
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
