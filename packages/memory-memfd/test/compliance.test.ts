import { memoryProviderCompliance } from "@cpr/testkit/memory-provider";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { MemfdMemoryProvider } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

for (const [name, options] of [
  ["memfd", { type: "memory-backend-memfd", id: "ram0" }],
  ["memfd, share=off", { type: "memory-backend-memfd", id: "ram0", share: false }],
  ["ram, share=on", { type: "memory-backend-ram", id: "ram0", share: true }],
] as const) {
  await memoryProviderCompliance({
    name,
    create: () => new MemfdMemoryProvider(),
    place: async () => ({ options, close: async () => undefined }),
  });
}
