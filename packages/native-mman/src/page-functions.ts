/**
 * Checksums for who copies RAM: `PageFunctions` of `@cpr/core`. A module of its own, because threads import it by its URL. Importing it fails without the addon, or on a processor without carry-less multiplication.
 *
 * @packageDocumentation
 */
import type { PageFunctions } from "@cpr/core";
import { addon } from "./addon.ts";

const native = addon();
if (native.crc32 === undefined || native.checksumPages === undefined) {
  throw new Error("this processor has no carry-less multiplication");
}

export const crc32: PageFunctions["crc32"] = native.crc32;
export const checksumPages: PageFunctions["checksumPages"] = native.checksumPages;
