/** Milliseconds for a loop over integers that fits the processor's first cache: what one core of a machine is, beside another one. */
export function calibrate(): number {
  const round = (): number => {
    let value = 1;
    for (let index = 0; index < 200_000_000; index += 1) value = (Math.imul(value, 1_664_525) + index) | 0;
    if (value === 0) throw new Error("The loop has not been executed.");
    return value;
  };
  round();
  const start = performance.now();
  round();
  return performance.now() - start;
}
