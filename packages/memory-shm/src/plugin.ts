import { definePlugin, HostCheck, MemoryProvider } from "@cpr/core";
import { FileMemoryProvider } from "./file-memory-provider.ts";
import { HugePagesHostCheck } from "./huge-pages-host-check.ts";
import { SharedMemoryHostCheck } from "./shared-memory-host-check.ts";

export default definePlugin({
  name: "@cpr/memory-shm",
  setup(context) {
    context.contribute(MemoryProvider, FileMemoryProvider);
    context.contribute(HostCheck, SharedMemoryHostCheck);
    context.contribute(HostCheck, HugePagesHostCheck);
  },
});
