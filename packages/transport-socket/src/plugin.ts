import { definePlugin, Transport } from "@cpr/core";
import { TcpTransport, UnixTransport, VsockTransport } from "./socket-transports.ts";

export default definePlugin({
  name: "@cpr/transport-socket",
  setup(context) {
    context.contribute(Transport, TcpTransport);
    context.contribute(Transport, UnixTransport);
    context.contribute(Transport, VsockTransport);
  },
});
