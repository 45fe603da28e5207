/**
 * What benchmarks print: each figure beside its target.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

let met = 0;
let missed = 0;

/**
 * Prints the median of some measurements, their range, and whether the median
 * meets its target.
 *
 * @param what What was measured.
 * @param values One for each round.
 * @param compare Which side of the target is good.
 * @param target The target.
 * @param unit Printed behind figures. Default: none, as for a ratio.
 */
export function report(
  what: string,
  values: readonly number[],
  compare: "at least" | "at most",
  target: number,
  unit = "",
): void {
  const middle = median(values);
  const isMet = compare === "at least" ? middle >= target : middle <= target;
  if (isMet) met++;
  else missed++;
  console.log(
    `${isMet ? "met " : "MISS"}  ${what.padEnd(46)} ${
      describe(values, unit).padEnd(24)
    } ${compare} ${target}${unit}`,
  );
}

/** Prints what has no target. */
export function note(text: string): void {
  console.log(`      ${text}`);
}

/** The median with its unit, and the range. */
export function describe(values: readonly number[], unit = ""): string {
  const spread = `${show(Math.min(...values))}–${show(Math.max(...values))}`;
  return `${show(median(values))}${unit} (${spread})`;
}

/** With two decimals, unless it is large. */
export function show(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

/** The one in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/**
 * Prints how many targets were met.
 *
 * @returns The exit status.
 */
export function summarize(): number {
  console.log(`\n${met} of ${met + missed} targets met`);
  return missed === 0 ? 0 : 1;
}
