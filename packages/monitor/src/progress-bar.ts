import type { Writable } from "node:stream";
import type { SingleBar } from "cli-progress";

/** An amount of bytes that is on its way. */
export interface ProgressAmount {
  readonly done: number;
  readonly total: number;
}

/** A bar on a terminal with the share that is done, the rate and the time left. It is there while something is to be shown. */
export class ProgressBar {
  readonly #output: Writable;
  #bar: SingleBar | undefined;
  #begun = 0;
  #first = 0;
  #wanted: ProgressAmount | undefined;
  #loading = false;

  constructor(output: Writable) {
    this.#output = output;
  }

  /** Shows how far something is; `undefined` removes the bar. */
  show(amount: ProgressAmount | undefined): void {
    this.#wanted = amount;
    if (amount === undefined) {
      this.#bar?.stop();
      this.#bar = undefined;
    } else if (this.#bar !== undefined) {
      this.#bar.setTotal(amount.total);
      this.#bar.update(amount.done, { rate: this.#rate(amount) });
    } else if (!this.#loading) {
      this.#loading = true;
      void this.#begin();
    }
  }

  /** The library is loaded when there is something to show, which is seldom. */
  async #begin(): Promise<void> {
    const { default: library } = await import("cli-progress");
    this.#loading = false;
    if (this.#wanted === undefined) {
      return;
    }
    const { done, total } = this.#wanted;
    this.#begun = performance.now();
    this.#first = done;
    this.#bar = new library.SingleBar({
      stream: this.#output as NodeJS.WritableStream,
      format: "[{bar}] {percentage}% {rate}, {eta_formatted} left",
      barsize: 32,
      barCompleteChar: "#",
      barIncompleteChar: ".",
      clearOnComplete: true,
      gracefulExit: false,
    });
    this.#bar.start(total, done, { rate: this.#rate({ done, total }) });
  }

  #rate({ done }: ProgressAmount): string {
    const seconds = (performance.now() - this.#begun) / 1000;
    const mebibytes = seconds > 0 ? (done - this.#first) / seconds / 2 ** 20 : 0;
    return mebibytes >= 1024 ? `${(mebibytes / 1024).toFixed(1)} GiB/s` : `${mebibytes.toFixed(0)} MiB/s`;
  }
}
