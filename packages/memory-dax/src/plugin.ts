import { definePlugin, MemoryProvider } from "@cpr/core";
import { DaxMemoryProvider } from "./dax-memory-provider.ts";

export default definePlugin({
  name: "@cpr/memory-dax",
  setup(context) {
    context.contribute(MemoryProvider, DaxMemoryProvider);
  },
});
