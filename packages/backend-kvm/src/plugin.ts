import { Backend, definePlugin, HostCheck } from "@cpr/core";
import { KvmBackend } from "./backend.ts";
import { KvmHostCheck } from "./host-check.ts";

export default definePlugin({
  name: "@cpr/backend-kvm",
  setup(context) {
    context.contribute(Backend, KvmBackend);
    context.contribute(HostCheck, KvmHostCheck);
  },
});
