import { floatHelpers } from "../float/index.ts";
import { type HelperName, helperNames } from "../helper-names.ts";
import type { Helper } from "../processor-interface.ts";
import { controlRegisterHelpers } from "./control-registers.ts";
import { farTransferHelpers } from "./far-transfers.ts";
import { integerHelpers } from "./integer.ts";
import { interruptReturnHelpers } from "./interrupt-return.ts";
import { interruptHelpers } from "./interrupts.ts";
import { machineHelpers } from "./machine-instructions.ts";
import { nearTransferHelpers } from "./near-transfers.ts";
import { portHelpers } from "./port-io.ts";
import { segmentHelpers } from "./segments.ts";
import { stackHelpers } from "./stack-instructions.ts";
import { stringHelpers } from "./strings.ts";
import { systemCallHelpers } from "./system-calls.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** All helpers of a processor, by their numbers (see helper-names.ts). */
export function helperTable(processor: SystemProcessor): readonly Helper[] {
  const all = {
    ...stackHelpers(processor),
    ...nearTransferHelpers(processor),
    ...farTransferHelpers(processor),
    ...interruptReturnHelpers(processor),
    ...interruptHelpers(processor),
    ...systemCallHelpers(processor),
    ...segmentHelpers(processor),
    ...controlRegisterHelpers(processor),
    ...machineHelpers(processor),
    ...portHelpers(processor),
    ...stringHelpers(processor),
    ...integerHelpers(processor),
    ...floatHelpers(processor),
  };
  return helperNames.map(
    (name: HelperName) =>
      all[name] ??
      (() => {
        throw new Error(`the interpreter lacks the helper '${name}'`);
      }),
  );
}
