import { median, type Report, table } from "../report.ts";

/** One quantity, measured several times on `cpr` and on QEMU. */
export interface Figure {
  readonly what: string;
  readonly processors: number;
  readonly cpr: readonly number[];
  /** Undefined where QEMU has nothing that is the same. */
  readonly qemu?: readonly number[];
}

/** Figures of one unit under a title. */
export interface Figures {
  readonly title: string;
  readonly figures: readonly Figure[];
  /** A value in print, with its unit. */
  readonly format: (value: number) => string;
  /** How many times as long `cpr` takes, from its value and QEMU's; the quotient if undefined. */
  readonly ratio?: (cpr: number, qemu: number) => number;
}

export const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ms`;

/** Medians, the least and the greatest beside them, since the lab host is noisy. */
export function report({ title, figures, format, ratio = (cpr, qemu) => cpr / qemu }: Figures): Report {
  const cell = (values: readonly number[] | undefined): string =>
    values === undefined
      ? ""
      : `${format(median(values))} (${format(Math.min(...values))} – ${format(Math.max(...values))})`;
  const rows = figures.map(({ what, processors, cpr, qemu }) => [
    what,
    String(processors),
    cell(cpr),
    cell(qemu),
    qemu === undefined ? "" : ratio(median(cpr), median(qemu)).toFixed(2),
  ]);
  return { title, text: table(["", "vCPUs", "cpr", "QEMU", "cpr takes, times"], rows) };
}
