/**
 * Functions on pages for threads that copy RAM: `PageFunctions` of `@cpr/core`. A module of its own, which such a thread imports by
 * its URL. Importing it fails without the addon, or on a processor without carry-less multiplication.
 *
 * @packageDocumentation
 */
import type { PageFunctions } from "@cpr/core";
import { addon } from "./addon.ts";

const { checksumPages: native } = addon();
if (native === undefined) {
  throw new Error("this processor has no carry-less multiplication");
}

export const checksumPages: PageFunctions["checksumPages"] = native;
