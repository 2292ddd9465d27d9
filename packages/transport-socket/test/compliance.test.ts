import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { transportCompliance } from "@cpr/testkit/transport";
import { TcpTransport, UnixTransport } from "../src/index.ts";

/** A port that nobody listens at: the system gives it out, and it is given back. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

pluginPackageCompliance(import.meta.url);

transportCompliance({
  name: "tcp",
  create: () => new TcpTransport(),
  place: async () => {
    const uri = `tcp:127.0.0.1:${await freePort()}`;
    return { outgoing: uri, incoming: uri, close: async () => undefined };
  },
  // Port 1 has no listener; 192.0.2.1 is an address for documentation, which no host has.
  unusable: { outgoing: "tcp:127.0.0.1:1", incoming: "tcp:192.0.2.1:4444" },
});

transportCompliance({
  name: "unix",
  create: () => new UnixTransport(),
  place: async () => {
    const folder = await mkdtemp(join(tmpdir(), "cpr-unix-"));
    const uri = `unix:${join(folder, "socket")}`;
    return { outgoing: uri, incoming: uri, close: () => rm(folder, { recursive: true }) };
  },
  unusable: { outgoing: "unix:/nowhere/socket", incoming: "unix:/nowhere/socket" },
});
