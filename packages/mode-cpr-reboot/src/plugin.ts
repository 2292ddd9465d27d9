import { definePlugin, HostCheck, MigrationMode } from "@cpr/core";
import { CprRebootMode } from "./cpr-reboot-mode.ts";
import { KexecHostCheck } from "./kexec-host-check.ts";

export default definePlugin({
  name: "@cpr/mode-cpr-reboot",
  setup(context) {
    context.contribute(MigrationMode, CprRebootMode);
    context.contribute(HostCheck, KexecHostCheck);
  },
});
