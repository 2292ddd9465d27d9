/** Floating point and its state: x87, MMX, FXSAVE and XSAVE, and the vector instructions that run in TypeScript. */

import { helperResult } from "../operations.ts";
import type { Helpers, ProcessorCore } from "../processor-interface.ts";
import { emptyMmxHelper, mmxHelper } from "./mmx.ts";
import {
  loadMxcsrHelper,
  restoreExtendedHelper,
  restoreFxHelper,
  saveExtendedHelper,
  saveFxHelper,
  storeMxcsrHelper,
} from "./state-image.ts";
import { VectorUnit, vectorExactHelper } from "./vector-exact.ts";
import { vectorRareHelper } from "./vector-rare.ts";
import { x87MemoryHelper } from "./x87-memory.ts";
import { x87RegisterHelper } from "./x87-register.ts";
import { X87Unit } from "./x87-unit.ts";

export {
  resetFloat,
  restoreXsaveImage,
  saveXsaveImage,
  supportedXcr0,
} from "./state-image.ts";

/** The helpers of this folder for a processor. */
export function floatHelpers(processor: ProcessorCore): Helpers {
  const unit = new X87Unit(processor);
  const vectors = new VectorUnit(processor);
  const saveExtended = saveExtendedHelper(unit);
  return {
    "x87-register": x87RegisterHelper(unit),
    "x87-memory": x87MemoryHelper(unit),
    wait: () => {
      unit.wait();
      return helperResult.next;
    },
    mmx: mmxHelper(unit, vectors),
    "empty-mmx-state": emptyMmxHelper(unit),
    "save-fx": saveFxHelper(unit),
    "restore-fx": restoreFxHelper(unit),
    "save-extended": saveExtended,
    "save-extended-optimized": saveExtended,
    "restore-extended": restoreExtendedHelper(unit),
    "load-mxcsr": loadMxcsrHelper(processor),
    "store-mxcsr": storeMxcsrHelper(processor),
    "vector-exact": vectorExactHelper(vectors),
    "vector-rare": vectorRareHelper(processor),
  };
}
