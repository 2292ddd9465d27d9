import { memoryProviderCompliance } from "@cpr/testkit/memory-provider";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { AnonymousMemoryProvider } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

await memoryProviderCompliance({
  name: "anonymous",
  create: () => new AnonymousMemoryProvider(),
  place: async () => ({ options: { type: "memory-backend-ram", id: "ram0" }, close: async () => undefined }),
});
