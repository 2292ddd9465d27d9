import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { transportCompliance } from "@cpr/testkit/transport";
import { FileTransport } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

transportCompliance({
  name: "file",
  create: () => new FileTransport(),
  place: async () => {
    const folder = await mkdtemp(join(tmpdir(), "cpr-file-"));
    const path = join(folder, "vm.state");
    return {
      outgoing: `file:${path}`,
      incoming: `file:${path}`,
      contents: () => readFile(path).catch(() => undefined),
      close: () => rm(folder, { recursive: true }),
    };
  },
  unusable: { outgoing: "file:/nowhere/vm.state", incoming: "file:/nowhere/vm.state" },
});
