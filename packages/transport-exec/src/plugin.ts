import { definePlugin, Transport } from "@cpr/core";
import { ExecTransport } from "./exec-transport.ts";

export default definePlugin({
  name: "@cpr/transport-exec",
  setup(context) {
    context.contribute(Transport, ExecTransport);
  },
});
