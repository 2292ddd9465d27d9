import { definePlugin, Transport } from "@cpr/core";
import { DescriptorTransport } from "./descriptor-transport.ts";

export default definePlugin({
  name: "@cpr/transport-fd",
  setup(context) {
    context.contribute(Transport, DescriptorTransport);
  },
});
