import { definePlugin, MigrationMode } from "@cpr/core";
import { CprRebootMode } from "./cpr-reboot-mode.ts";

export default definePlugin({
  name: "@cpr/mode-cpr-reboot",
  setup(context) {
    context.contribute(MigrationMode, CprRebootMode);
  },
});
