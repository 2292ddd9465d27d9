import { definePlugin, HostCheck, MemoryProvider } from "@cpr/core";
import { MemfdHostCheck } from "./memfd-host-check.ts";
import { MemfdMemoryProvider } from "./memfd-memory-provider.ts";

export default definePlugin({
  name: "@cpr/memory-memfd",
  setup(context) {
    context.contribute(MemoryProvider, MemfdMemoryProvider);
    context.contribute(HostCheck, MemfdHostCheck);
  },
});
