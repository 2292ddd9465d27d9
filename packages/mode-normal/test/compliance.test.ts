import { modeCompliance } from "@cpr/testkit/mode";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { NormalMode } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

modeCompliance({ name: "normal", create: () => new NormalMode() });
