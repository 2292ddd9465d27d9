import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";

pluginPackageCompliance(import.meta.url);
