import { definePlugin, HostCheck, Transport } from "@cpr/core";
import { TcpTransport, UnixTransport, VsockTransport } from "./socket-transports.ts";
import { SocketsHostCheck } from "./sockets-host-check.ts";

export default definePlugin({
  name: "@cpr/transport-socket",
  setup(context) {
    context.contribute(Transport, TcpTransport);
    context.contribute(Transport, UnixTransport);
    context.contribute(Transport, VsockTransport);
    context.contribute(HostCheck, SocketsHostCheck);
  },
});
