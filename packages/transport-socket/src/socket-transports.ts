import type { Abortable, Transport, TransportSink, TransportSource, TransportUri } from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { socketErrors } from "./errors.ts";
import { parseTcpAddress, parseUnixAddress, type SocketAddress } from "./socket-address.ts";
import { SocketSink } from "./socket-sink.ts";
import { SocketSource } from "./socket-source.ts";

/** Sockets join two live processes: nothing comes to rest. */
const supports = { stores: false, seekable: false, parallel: false, passesDescriptors: false } as const;

async function openSink(uri: TransportUri, address: SocketAddress, { signal }: Abortable): Promise<TransportSink> {
  signal?.throwIfAborted();
  return SocketSink.open(uri.text, address, signal);
}

async function openSource(uri: TransportUri, address: SocketAddress, { signal }: Abortable): Promise<TransportSource> {
  signal?.throwIfAborted();
  return SocketSource.open(uri.text, address, signal);
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

/** `vsock:CID:PORT` is known, so that modes judge it by its kind, but Node has no such sockets. */
@injectable()
export class VsockTransport implements Transport {
  readonly scheme = "vsock";
  readonly supports = supports;

  async openSink(uri: TransportUri, { signal }: Abortable = {}): Promise<TransportSink> {
    signal?.throwIfAborted();
    throw socketErrors.ERR_CPR_SOCKET_VSOCK({ uri: uri.text });
  }

  async openSource(uri: TransportUri, { signal }: Abortable = {}): Promise<TransportSource> {
    signal?.throwIfAborted();
    throw socketErrors.ERR_CPR_SOCKET_VSOCK({ uri: uri.text });
  }
}
