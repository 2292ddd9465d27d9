import { BlockDriver, definePlugin } from "@cpr/core";
import { RawBlockDriver } from "./raw-block-driver.ts";

export default definePlugin({
  name: "@cpr/block-raw",
  setup(context) {
    context.contribute(BlockDriver, RawBlockDriver);
  },
});
