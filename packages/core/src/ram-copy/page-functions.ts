import type { PageFunctions } from "../memory-provider.ts";
import { addPage } from "../stream/chunk-checksum.ts";
import { pageSize } from "../stream/format.ts";
import { hasPage, removePage } from "./page-bitmap.ts";

/** The functions of a module; undefined if there is none, or if it does not work on this host. */
export async function loadPageFunctions(url: string | undefined): Promise<PageFunctions | undefined> {
  try {
    return url === undefined ? undefined : ((await import(url)) as PageFunctions);
  } catch {
    return undefined;
  }
}

/** What does without them. */
export const plainPageFunctions: Pick<PageFunctions, "checksumPages"> = {
  checksumPages(bytes, bitmap, before, removeZeroPages) {
    let checksum = before;
    for (let page = 0; page * pageSize < bytes.length; page++) {
      if (hasPage(bitmap, page)) {
        const contents = bytes.subarray(page * pageSize, (page + 1) * pageSize);
        if (removeZeroPages && isZero(contents)) {
          removePage(bitmap, page);
        } else {
          checksum = addPage(checksum, page, contents);
        }
      }
    }
    return checksum;
  },
};

const zeroPage = Buffer.alloc(pageSize);

/** Whether a page is zero. Few pages that are used begin with so many zeros; the native comparison is for the others. */
function isZero(page: Uint8Array): boolean {
  return (
    page[0] === 0 &&
    page[1] === 0 &&
    page[8] === 0 &&
    page[512] === 0 &&
    page[2048] === 0 &&
    zeroPage.compare(page) === 0
  );
}
