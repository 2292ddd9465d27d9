import { memoryProviderCompliance } from "@cpr/testkit/memory-provider";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { DaxMemoryProvider } from "../src/index.ts";
import { FakeDaxHost } from "./fake-host.ts";

pluginPackageCompliance(import.meta.url);

const size = 1 << 20;
let host: FakeDaxHost;

await memoryProviderCompliance({
  name: "dax",
  size,
  create: () => new DaxMemoryProvider(host),
  place: async () => {
    const own = new FakeDaxHost({ size });
    host = own;
    return {
      options: { type: "memory-backend-file", id: "ram0", "mem-path": own.device, share: true },
      close: async () => own.remove(),
    };
  },
});
