import { backendCompliance } from "@cpr/testkit/backend";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { InterpreterBackend } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

await backendCompliance({ name: "interp", create: () => new InterpreterBackend() });
