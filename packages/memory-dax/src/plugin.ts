import { definePlugin, HostCheck, MemoryProvider } from "@cpr/core";
import { DaxHostCheck } from "./dax-host-check.ts";
import { DaxMemoryProvider } from "./dax-memory-provider.ts";

export default definePlugin({
  name: "@cpr/memory-dax",
  setup(context) {
    context.contribute(MemoryProvider, DaxMemoryProvider);
    context.contribute(HostCheck, DaxHostCheck);
  },
});
