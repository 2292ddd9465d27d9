import { definePlugin, MemoryProvider } from "@cpr/core";
import { FileMemoryProvider } from "./file-memory-provider.ts";

export default definePlugin({
  name: "@cpr/memory-shm",
  setup(context) {
    context.contribute(MemoryProvider, FileMemoryProvider);
  },
});
