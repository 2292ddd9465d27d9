import { execFileSync } from "node:child_process";
import { constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { transportCompliance } from "@cpr/testkit/transport";
import { DescriptorTransport } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

transportCompliance({
  name: "fd",
  create: () => new DescriptorTransport(),
  // NOTE: the descriptors are the transport's to close.
  place: async () => {
    const folder = mkdtempSync(join(tmpdir(), "cpr-fd-"));
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    const incoming = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const outgoing = openSync(path, constants.O_WRONLY);
    return {
      outgoing: `fd:${outgoing}`,
      incoming: `fd:${incoming}`,
      close: async () => rmSync(folder, { recursive: true }),
    };
  },
  unusable: { outgoing: "fd:9999", incoming: "fd:9999" },
});
