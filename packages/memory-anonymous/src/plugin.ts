import { definePlugin, MemoryProvider } from "@cpr/core";
import { AnonymousMemoryProvider } from "./anonymous-memory-provider.ts";

export default definePlugin({
  name: "@cpr/memory-anonymous",
  setup(context) {
    context.contribute(MemoryProvider, AnonymousMemoryProvider);
  },
});
