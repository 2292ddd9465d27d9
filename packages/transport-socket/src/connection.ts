import { connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { isCprError, systemReason } from "@cpr/core";
import { DescriptorServer, DescriptorSocket } from "@cpr/native-socket";
import { socketErrors } from "./errors.ts";
import type { SocketAddress } from "./socket-address.ts";

/** Connects to an address. @throws {CprError} ERR_CPR_SOCKET_CONNECT, or that there is no addon for vsock */
export async function connectTo(uri: string, address: SocketAddress, signal: AbortSignal | undefined): Promise<Duplex> {
  try {
    return address.family === "vsock"
      ? await DescriptorSocket.connect([address.cid, address.port], signal)
      : await connectByNode(address, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    throw isCprError(cause)
      ? cause
      : socketErrors.ERR_CPR_SOCKET_CONNECT({ uri, reason: systemReason(cause) }, { cause });
  }
}

/** Listens, and waits for the first one who connects. @throws {CprError} ERR_CPR_SOCKET_LISTEN, or that there is no addon */
export async function acceptAt(uri: string, address: SocketAddress, signal: AbortSignal | undefined): Promise<Duplex> {
  try {
    return await (address.family === "vsock" ? acceptVsock(address, signal) : acceptByNode(address, signal));
  } catch (cause) {
    signal?.throwIfAborted();
    throw isCprError(cause)
      ? cause
      : socketErrors.ERR_CPR_SOCKET_LISTEN({ uri, reason: systemReason(cause) }, { cause });
  }
}

type NodeAddress = Extract<SocketAddress, { family: "node" }>;

async function connectByNode({ connect: options }: NodeAddress, signal: AbortSignal | undefined): Promise<Duplex> {
  const socket = connect(options);
  const onAbort = (): void => void socket.destroy();
  signal?.addEventListener("abort", onAbort);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve).once("error", reject);
      socket.once("close", () => reject(new Error("it was closed")));
    });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

async function acceptByNode({ listen }: NodeAddress, signal: AbortSignal | undefined): Promise<Duplex> {
  const server = createServer();
  const onAbort = (): void => void server.close();
  signal?.addEventListener("abort", onAbort);
  try {
    return await new Promise<Socket>((resolve, reject) => {
      server.once("connection", resolve).once("error", reject);
      server.once("close", () => reject(new Error("it was closed")));
      server.listen(listen);
    });
  } finally {
    signal?.removeEventListener("abort", onAbort);
    server.close();
  }
}

async function acceptVsock(
  { cid, port }: Extract<SocketAddress, { family: "vsock" }>,
  signal: AbortSignal | undefined,
): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<DescriptorSocket>();
  const server = DescriptorServer.listen([cid, port], resolve);
  const onAbort = (): void => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    server.close();
  }
}
