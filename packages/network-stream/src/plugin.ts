import { definePlugin, HostCheck, NetworkBackend } from "@cpr/core";
import { PasstBackend, PasstHostCheck, StreamBackend, UserBackend } from "./index.ts";

export default definePlugin({
  name: "@cpr/network-stream",
  setup(context) {
    context.contribute(NetworkBackend, StreamBackend);
    context.contribute(NetworkBackend, PasstBackend);
    context.contribute(NetworkBackend, UserBackend);
    context.contribute(HostCheck, PasstHostCheck);
  },
});
