import {
  type Abortable,
  ConnectionSink,
  ConnectionSource,
  systemReason,
  type Transport,
  type TransportSink,
  type TransportSource,
  type TransportUri,
} from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { socketErrors } from "./errors.ts";
import { parseTcpAddress, parseUnixAddress, parseVsockAddress, type SocketAddress } from "./socket-address.ts";

/** Sockets join two live processes: nothing comes to rest. */
const supports = { stores: false, seekable: false, parallel: false, passesDescriptors: false } as const;

const broken =
  (uri: string) =>
  (cause: unknown): Error =>
    socketErrors.ERR_CPR_SOCKET_BROKEN({ uri, reason: systemReason(cause) }, { cause });

async function openSink(uri: TransportUri, address: SocketAddress, { signal }: Abortable): Promise<TransportSink> {
  signal?.throwIfAborted();
  const { connectTo } = await import("./connection.ts");
  return new ConnectionSink({
    connection: await connectTo(uri.text, address, signal),
    failed: broken(uri.text),
    signal,
  });
}

async function openSource(uri: TransportUri, address: SocketAddress, { signal }: Abortable): Promise<TransportSource> {
  signal?.throwIfAborted();
  const { acceptAt } = await import("./connection.ts");
  return new ConnectionSource({
    connection: await acceptAt(uri.text, address, signal),
    failed: broken(uri.text),
    signal,
  });
}

/** Migration streams over TCP: `tcp:HOST:PORT`. The receiving side listens. */
@injectable()
export class TcpTransport implements Transport {
  readonly scheme = "tcp";
  readonly supports = supports;

  async openSink(uri: TransportUri, options: Abortable = {}): Promise<TransportSink> {
    return openSink(uri, parseTcpAddress(uri), options);
  }

  async openSource(uri: TransportUri, options: Abortable = {}): Promise<TransportSource> {
    return openSource(uri, parseTcpAddress(uri), options);
  }
}

/** Migration streams over Unix domain sockets: `unix:PATH`. The receiving side listens. */
@injectable()
export class UnixTransport implements Transport {
  readonly scheme = "unix";
  readonly supports = supports;

  async openSink(uri: TransportUri, options: Abortable = {}): Promise<TransportSink> {
    return openSink(uri, parseUnixAddress(uri), options);
  }

  async openSource(uri: TransportUri, options: Abortable = {}): Promise<TransportSource> {
    return openSource(uri, parseUnixAddress(uri), options);
  }
}

/**
 * Migration streams over sockets between a host and its VMs: `vsock:CID:PORT`. The receiving side listens. It needs the
 * addon of `@cpr/native-socket` and a host that has AF_VSOCK.
 */
@injectable()
export class VsockTransport implements Transport {
  readonly scheme = "vsock";
  readonly supports = supports;

  async openSink(uri: TransportUri, options: Abortable = {}): Promise<TransportSink> {
    return openSink(uri, parseVsockAddress(uri), options);
  }

  async openSource(uri: TransportUri, options: Abortable = {}): Promise<TransportSource> {
    return openSource(uri, parseVsockAddress(uri), options);
  }
}
