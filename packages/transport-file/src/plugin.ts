import { definePlugin, Transport } from "@cpr/core";
import { FileTransport } from "./file-transport.ts";

export default definePlugin({
  name: "@cpr/transport-file",
  setup(context) {
    context.contribute(Transport, FileTransport);
  },
});
