/** A set of interrupt vectors as the local APIC keeps it: eight registers of 32 bits. */
export class VectorSet {
  readonly #words = new Uint32Array(8);

  has(vector: number): boolean {
    return ((this.word(vector >> 5) >>> (vector & 31)) & 1) !== 0;
  }

  add(vector: number): void {
    this.#words[vector >> 5] = this.word(vector >> 5) | (1 << (vector & 31));
  }

  delete(vector: number): void {
    this.#words[vector >> 5] = this.word(vector >> 5) & ~(1 << (vector & 31));
  }

  clear(): void {
    this.#words.fill(0);
  }

  /** The highest vector in the set, -1 if it is empty. */
  highest(): number {
    for (let index = 7; index >= 0; index--) {
      const word = this.word(index);
      if (word !== 0) return 32 * index + 31 - Math.clz32(word);
    }
    return -1;
  }

  /** One of the eight registers. */
  word(index: number): number {
    return this.#words[index] ?? 0;
  }

  save(): number[] {
    return [...this.#words];
  }

  restore(words: readonly number[]): void {
    this.#words.set(words);
  }
}
