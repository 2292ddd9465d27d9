/** The install script: compiles the addon. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const mman = dirname(createRequire(import.meta.url).resolve("@cpr/native-mman/package.json"));
const { buildAddon } = await import(pathToFileURL(join(mman, "scripts", "build-addon.mjs")).href);
buildAddon(
  fileURLToPath(new URL("..", import.meta.url)),
  "Descriptors cannot be received over QMP, and vsock: URIs and pseudoterminals will be refused.",
);
