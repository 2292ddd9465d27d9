import { addressOf } from "@cpr/native-mman";
import { backendCompliance } from "@cpr/testkit/backend";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { KvmBackend } from "../src/index.ts";

pluginPackageCompliance(import.meta.url);

/** With the CPU model that every host's KVM can provide. */
class Baseline extends KvmBackend {
  override readonly processorModels = ["cpr64-v1"];
}

await backendCompliance({ name: "kvm", create: () => new Baseline(), addressOf });
