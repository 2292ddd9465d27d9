import { changingPages } from "@cpr/guest-programs";

/**
 * Checks that the bytes which the program `pages` counts are of one moment: in the order of the pages a number, and from some page
 * on the number before it. @throws if not.
 */
export function expectOneMoment(ram: Uint8Array): void {
  const { start, end } = changingPages;
  let steps = 0;
  for (let page = start + 4096; page < end; page += 4096) {
    const change = ((ram[page] as number) - (ram[page - 4096] as number)) & 0xff;
    if (change === 0xff) steps += 1;
    else if (change !== 0)
      throw new Error(`the page at 0x${page.toString(16)} is ${change} ahead of the one before it`);
  }
  if (steps > 1) throw new Error(`RAM is of ${steps + 1} moments`);
}
