import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { transportCompliance } from "@cpr/testkit/transport";
import { ExecTransport } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

transportCompliance({
  name: "exec",
  create: () => new ExecTransport(),
  place: async () => {
    const folder = await mkdtemp(join(tmpdir(), "cpr-exec-"));
    const path = join(folder, "vm.state");
    return {
      // A command that keeps what was there until it has everything, as the file transport does.
      outgoing: `exec:cat > ${path}.$$ && mv ${path}.$$ ${path}`,
      incoming: `exec:cat ${path}`,
      contents: () => readFile(path).catch(() => undefined),
      close: () => rm(folder, { recursive: true }),
    };
  },
  unusable: { outgoing: "exec:cat > /nowhere/vm.state", incoming: "exec:cat /nowhere/vm.state" },
});
