import { transportUri } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { TcpTransport, UnixTransport, VsockTransport } from "../src/index.ts";

describe("socket transports", () => {
  it("know that they store nothing, which is how modes judge them", () => {
    for (const transport of [new TcpTransport(), new UnixTransport(), new VsockTransport()]) {
      expect(transport.supports).toEqual({ stores: false, seekable: false, parallel: false, passesDescriptors: false });
    }
  });

  it.each(["tcp:localhost", "tcp:localhost:0", "tcp:localhost:65536", "tcp:localhost:http", "tcp:a:b:1"])(
    "refuse the address %s",
    async (uri) => {
      const transport = new TcpTransport();
      await expect(transport.openSink(transportUri(uri))).rejects.toMatchObject({ code: "ERR_CPR_SOCKET_URI" });
      await expect(transport.openSource(transportUri(uri))).rejects.toMatchObject({ code: "ERR_CPR_SOCKET_URI" });
    },
  );

  it("refuse a path that the kernel would cut off", async () => {
    const uri = transportUri(`unix:/tmp/${"x".repeat(120)}`);
    await expect(new UnixTransport().openSource(uri)).rejects.toMatchObject({ code: "ERR_CPR_SOCKET_URI" });
  });

  it("say that nobody listens", async () => {
    await expect(new TcpTransport().openSink(transportUri("tcp:127.0.0.1:1"))).rejects.toMatchObject({
      code: "ERR_CPR_SOCKET_CONNECT",
      message: "Failed to connect to 'tcp:127.0.0.1:1': Connection refused",
    });
  });

  it.each(["vsock:", "vsock:1", "vsock:a:1", "vsock:4294967296:1", "vsock:1:4294967296", "vsock:1:2:3"])(
    "refuse the address %s",
    async (uri) => {
      const transport = new VsockTransport();
      await expect(transport.openSink(transportUri(uri))).rejects.toMatchObject({ code: "ERR_CPR_SOCKET_URI" });
      await expect(transport.openSource(transportUri(uri))).rejects.toMatchObject({ code: "ERR_CPR_SOCKET_URI" });
    },
  );

  it("carry a stream over vsock where the host can, and otherwise say why not", async () => {
    const transport = new VsockTransport();
    const port = 1_000_000 + process.pid;
    const controller = new AbortController();
    const receiving = transport.openSource(transportUri(`vsock:4294967295:${port}`), { signal: controller.signal });
    receiving.catch(() => undefined);
    const uri = `vsock:1:${port}`;
    try {
      const sink = await transport.openSink(transportUri(uri));
      const source = await receiving;
      await sink.write(new TextEncoder().encode("a stream"));
      const committed = sink.commit();
      const buffer = new Uint8Array(100);
      expect(await source.read(buffer)).toBe(8);
      await source.close();
      await committed;
    } catch (error) {
      process.stderr.write(`vsock: this host has no loopback: ${(error as Error).message}\n`);
      expect(error).toMatchObject({
        code: "ERR_CPR_SOCKET_CONNECT",
        message: expect.stringMatching(
          /^Failed to connect to 'vsock:1:\d+': (Connection (timed out|reset by peer|refused)|No such device|Address family|Network is unreachable)/,
        ),
        details: { uri },
      });
      controller.abort();
      await expect(receiving).rejects.toMatchObject({ name: expect.stringMatching(/^(AbortError|CprError)$/) });
    }
  });
});
