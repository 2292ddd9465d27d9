import { Backend, definePlugin } from "@cpr/core";
import { InterpreterBackend } from "./backend.ts";

export default definePlugin({
  name: "@cpr/backend-interp",
  setup(context) {
    context.contribute(Backend, InterpreterBackend);
  },
});
