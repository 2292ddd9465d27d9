import { definePlugin, NetworkBackend } from "@cpr/core";
import { TapBackend } from "./tap-backend.ts";

export default definePlugin({
  name: "@cpr/network-tap",
  setup(context) {
    context.contribute(NetworkBackend, TapBackend);
  },
});
