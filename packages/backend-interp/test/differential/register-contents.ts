import { highAtHigh, highAtLow, lowAt, pageSize } from "./address-space.ts";
import type { FastRandom } from "./fast-random.ts";
import type { Bitness } from "./instruction-forms.ts";
import { randomWord } from "./operand-pool.ts";

/** What a register holds, as far as the generator knows: an address in the low or the high pages, a small number, or anything. */
export type Content = "low" | "high" | "small" | "data";

const rsp = 4;

/** An address near the border of the first two pages, as low half; most are aligned. */
function nearBorder(random: FastRandom): number {
  const distance = random.chance(0.8) ? random.between(-0x100, 0xf0) : random.between(-0x700, 0x700);
  return pageSize + (random.chance(0.85) ? distance & ~15 : distance);
}

/** Keeps track of which registers may serve in addresses while a sequence is made. */
export class RegisterContents {
  readonly count: number;
  readonly #bitness: Bitness;
  readonly #random: FastRandom;
  readonly #contents: Content[];

  constructor(random: FastRandom, bitness: Bitness, initial: Uint32Array) {
    this.#random = random;
    this.#bitness = bitness;
    this.count = bitness === 64 ? 16 : 8;
    this.#contents = Array.from({ length: this.count }, (_, register): Content => {
      const die = register === rsp ? 0 : random.below(100);
      if (die < 45) return this.pointerKind();
      return die < 62 ? "small" : "data";
    });
    for (let register = 0; register < 16; register++) {
      const [low, high] = this.value(this.#contents[register] ?? "data");
      initial[2 * register] = low;
      initial[2 * register + 1] = high;
    }
  }

  pointerKind(): "low" | "high" {
    return this.#bitness === 64 && this.#random.chance(0.4) ? "high" : "low";
  }

  /** A value for a register of that content: low and high half. */
  value(content: Content): [number, number] {
    const random = this.#random;
    switch (content) {
      case "low":
        return [lowAt + nearBorder(random), 0];
      case "high":
        return [highAtLow + nearBorder(random), highAtHigh];
      case "small":
        return [random.below(random.chance(0.5) ? 16 : 128), 0];
      case "data":
        return [randomWord(random), random.chance(0.3) ? random.pick([0, 0xffffffff]) : randomWord(random)];
    }
  }

  of(register: number): Content {
    return this.#contents[register] as Content;
  }

  set(register: number, content: Content): void {
    this.#contents[register] = content;
  }

  /** A register with one of the contents; undefined if there is none. */
  find(wanted: (content: Content, register: number) => boolean): number | undefined {
    const start = this.#random.below(this.count);
    for (let step = 0; step < this.count; step++) {
      const register = (start + step) % this.count;
      if (wanted(this.#contents[register] as Content, register)) return register;
    }
    return undefined;
  }

  /** A register that may be overwritten: seldom one with an address, and hardly ever RSP. */
  destination(avoid = 0): number {
    const random = this.#random;
    const free = random.chance(0.93);
    for (let attempt = 0; attempt < 20; attempt++) {
      const register = random.below(this.count);
      if ((avoid >> register) & 1) continue;
      if (register === rsp && !random.chance(0.03)) continue;
      const content = this.#contents[register];
      if (!free || content === "data" || content === "small") return register;
    }
    return (avoid & 1) === 0 ? 0 : 3;
  }
}
