/** The install script: compiles the addon. */
import { fileURLToPath } from "node:url";
import { buildAddon } from "./build-addon.mjs";

buildAddon(fileURLToPath(new URL("..", import.meta.url)), "RAM in shared memory and disks will be refused.");
