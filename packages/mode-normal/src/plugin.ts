import { definePlugin, MigrationMode } from "@cpr/core";
import { NormalMode } from "./normal-mode.ts";

export default definePlugin({
  name: "@cpr/mode-normal",
  setup(context) {
    context.contribute(MigrationMode, NormalMode);
  },
});
