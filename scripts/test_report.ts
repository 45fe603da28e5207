/**
 * Reads the report of `deno test` and counts.
 *
 * @module
 */

/** One test, or one step of a test. */
export interface TestCase {
  /** The file, such as `./core/grant_test.ts`. */
  readonly file: string;
  /** The test's name; for a step `TEST > STEP`. */
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
}

/** How a run of the tests ended. Steps count with their test, not by themselves. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** Names; those of skipped steps as well. */
  readonly skipped: readonly string[];
}

/**
 * Parses a report as `deno test --junit-path` writes it.
 *
 * @param xml The report; empty if there is none.
 * @returns All tests and steps, in order.
 */
export function parseJunit(xml: string): TestCase[] {
  const CASE =
    /<testcase name="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g;
  return [...xml.matchAll(CASE)].map(([, name = "", file = "", body = ""]) => ({
    name: unescapeXml(name),
    file: unescapeXml(file),
    outcome: /<(failure|error)\b/.test(body)
      ? "failed"
      : body.includes("<skipped/>")
      ? "skipped"
      : "passed",
  }));
}

function unescapeXml(text: string): string {
  const ENTITIES: Record<string, string> = {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&apos;": "'",
    "&amp;": "&",
  };
  return text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(+code))
    .replace(/&\w+;/g, (entity) => ENTITIES[entity] ?? entity);
}

/**
 * Counts tests.
 *
 * @param cases From {@link parseJunit}.
 * @param exitCode Of `deno test`. If it is not 0 although no test failed, the
 * run itself did, such as by a file that does not load: that is one failure.
 * @returns The counts.
 */
export function tally(cases: readonly TestCase[], exitCode: number): Tally {
  const known = new Set(cases.map(({ file, name }) => `${file} ${name}`));
  const isStep = ({ file, name }: TestCase) =>
    parents(name).some((parent) => known.has(`${file} ${parent}`));
  const tests = cases.filter((test) => !isStep(test));
  const count = (outcome: string) =>
    tests.filter((test) => test.outcome === outcome).length;
  const failed = count("failed");
  return {
    passed: count("passed"),
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: cases.filter((test) => test.outcome === "skipped")
      .map((test) => test.name),
  };
}

/**
 * Leaves out what `--filter` left out: the report calls that skipped as well.
 *
 * @param cases From {@link parseJunit}.
 * @param filter A text that names must contain, or a pattern between slashes;
 * undefined for all.
 * @returns The tests that were to run.
 */
export function selected(
  cases: readonly TestCase[],
  filter: string | undefined,
): readonly TestCase[] {
  if (filter === undefined) return cases;
  const pattern = /^\/(.+)\/$/.exec(filter)?.[1];
  const matches = pattern === undefined
    ? (name: string) => name.includes(filter)
    : (name: string) => new RegExp(pattern, "u").test(name);
  return cases.filter((test) => matches(test.name));
}

/**
 * Says why a run of the tests proves nothing: none was chosen.
 *
 * @param chosen From {@link selected}.
 * @param filter The same as there.
 * @param exitCode Of `deno test`. If it is not 0, the run failed by itself.
 * @returns One sentence; undefined if something ran.
 */
export function nothingRan(
  chosen: readonly TestCase[],
  filter: string | undefined,
  exitCode: number,
): string | undefined {
  if (chosen.length > 0 || exitCode !== 0) return undefined;
  const wanted = filter === undefined
    ? "there is none"
    : `"${filter}" is neither a path nor in the name of a test`;
  return `Cannot find a test to run: ${wanted}`;
}

/** The names that a step's test may have: everything before each ` > `. */
function parents(name: string): string[] {
  const parts = name.split(" > ");
  return parts.slice(1).map((_, index) =>
    parts.slice(0, index + 1).join(" > ")
  );
}
