import { definePlugin, MachineModel } from "@cpr/core";
import { PcMachineModel } from "./index.ts";

/** Registers the machine type `pc`. */
export default definePlugin({
  name: "@cpr/machine-pc",
  setup(context) {
    context.contribute(MachineModel, PcMachineModel);
  },
});
