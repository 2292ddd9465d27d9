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

  it("say that vsock is not to be had", async () => {
    const refusal = { code: "ERR_CPR_SOCKET_VSOCK", hint: "Use tcp:HOST:PORT or unix:PATH." };
    await expect(new VsockTransport().openSink(transportUri("vsock:2:1"))).rejects.toMatchObject(refusal);
    await expect(new VsockTransport().openSource(transportUri("vsock:2:1"))).rejects.toMatchObject(refusal);
  });
});
