import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockDriverCompliance } from "@cpr/testkit/block-driver";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { RawBlockDriver } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

for (const [name, parent] of [
  ["a file on a disk", tmpdir()],
  ["a file on tmpfs, which cannot make zeroes", "/dev/shm"],
] as const) {
  blockDriverCompliance({
    name: `raw, ${name}`,
    create: () => new RawBlockDriver(),
    place: async (contents) => {
      const folder = await mkdtemp(join(parent, "block-raw-"));
      const path = join(folder, "disk.raw");
      await writeFile(path, contents);
      return { options: { path }, close: () => rm(folder, { recursive: true }) };
    },
  });
}
