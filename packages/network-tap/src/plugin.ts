import { definePlugin, HostCheck, NetworkBackend } from "@cpr/core";
import { TapBackend } from "./tap-backend.ts";
import { TapHostCheck } from "./tap-host-check.ts";

export default definePlugin({
  name: "@cpr/network-tap",
  setup(context) {
    context.contribute(NetworkBackend, TapBackend);
    context.contribute(HostCheck, TapHostCheck);
  },
});
