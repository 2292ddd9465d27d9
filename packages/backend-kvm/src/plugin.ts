import { Backend, definePlugin } from "@cpr/core";
import { KvmBackend } from "./backend.ts";

export default definePlugin({
  name: "@cpr/backend-kvm",
  setup(context) {
    context.contribute(Backend, KvmBackend);
  },
});
