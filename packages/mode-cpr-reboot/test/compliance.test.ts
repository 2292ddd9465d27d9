import { modeCompliance } from "@cpr/testkit/mode";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { CprRebootMode } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

modeCompliance({ name: "cpr-reboot", create: () => new CprRebootMode() });
