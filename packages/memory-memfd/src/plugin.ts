import { definePlugin, MemoryProvider } from "@cpr/core";
import { MemfdMemoryProvider } from "./memfd-memory-provider.ts";

export default definePlugin({
  name: "@cpr/memory-memfd",
  setup(context) {
    context.contribute(MemoryProvider, MemfdMemoryProvider);
  },
});
