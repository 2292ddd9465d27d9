import type { InterruptController, InterruptLine } from "@cpr/core";
import { interrupts, timerPin } from "./layout.ts";

/** Number of global system interrupts: the pins of the IOAPIC. */
const lineCount = 24;
/** Interrupts that reach the 8259A pair as well. */
const isaCount = 16;

/**
 * The interrupt lines of the board: ISA interrupts 0 to 15 lead to the 8259A pair and to the IOAPIC, the further ones to
 * the IOAPIC alone. Devices may share a line: it is asserted as long as any of them asserts it.
 */
export class InterruptLines {
  readonly #pic: InterruptController;
  readonly #ioapic: InterruptController;
  readonly #asserted = new Array<number>(lineCount).fill(0);

  constructor(pic: InterruptController, ioapic: InterruptController) {
    this.#pic = pic;
    this.#ioapic = ioapic;
  }

  /**
   * A device's own connection to a line.
   *
   * @throws {RangeError} if there is no such line, or it is the one between the two 8259A.
   */
  connect(number: number): InterruptLine {
    if (!Number.isInteger(number) || number < 0 || number >= lineCount || number === timerPin) {
      throw new RangeError(`the machine has no interrupt line ${number}`);
    }
    const ioapic = this.#ioapic.input(number === interrupts.timer ? timerPin : number);
    const pic = number < isaCount ? this.#pic.input(number) : undefined;
    const asserted = this.#asserted;
    let level = false;
    return {
      set(next) {
        if (next === level) return;
        level = next;
        const before = asserted[number] ?? 0;
        const after = before + (next ? 1 : -1);
        asserted[number] = after;
        if ((before === 0) !== (after === 0)) {
          pic?.set(next);
          ioapic.set(next);
        }
      },
    };
  }
}
