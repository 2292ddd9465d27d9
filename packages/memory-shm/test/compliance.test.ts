import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryProviderCompliance } from "@cpr/testkit/memory-provider";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { FileMemoryProvider } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

for (const [name, parent, share] of [
  ["tmpfs, share=on", "/dev/shm", true],
  ["tmpfs, share=off", "/dev/shm", false],
  ["a disk, share=on", tmpdir(), true],
] as const) {
  await memoryProviderCompliance({
    name,
    create: () => new FileMemoryProvider(),
    place: async () => {
      const folder = await mkdtemp(join(parent, "memory-shm-"));
      return {
        options: { type: "memory-backend-file", id: "ram0", "mem-path": join(folder, "ram0"), share },
        close: () => rm(folder, { recursive: true }),
      };
    },
  });
}

await memoryProviderCompliance({
  name: "a file without a name on /dev/shm",
  create: () => new FileMemoryProvider(),
  place: async () => ({ options: { type: "memory-backend-shm", id: "ram0" }, close: async () => undefined }),
});

await memoryProviderCompliance({
  name: "a file without a name in a directory",
  create: () => new FileMemoryProvider(),
  place: async () => {
    const folder = await mkdtemp(join(tmpdir(), "memory-shm-"));
    return {
      options: { type: "memory-backend-file", id: "ram0", "mem-path": folder, share: true },
      close: () => rm(folder, { recursive: true }),
    };
  },
});
