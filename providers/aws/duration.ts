/**
 * Session durations.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";

/** What STS accepts at least, in seconds; also the default, as in AWS's Go SDK. */
export const MIN_DURATION_SECONDS = 900;

/** What STS accepts at most, in seconds: 12 hours. */
export const MAX_DURATION_SECONDS = 43_200;

/**
 * Parses a session duration.
 *
 * @param text Hours, minutes and seconds such as `15m`, `1h30m`, `900s`, or plain seconds such as `3600`.
 * @returns Seconds, 900 to 43,200.
 * @throws {MoatError} `usage` for any other form, or out of range.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole, DurationSeconds}
 */
export function parseDuration(text: string): number {
  const match =
    /^(?:(\d{1,6})|(?=\d)(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?)$/
      .exec(text);
  if (!match) throw bad(text, "a duration");
  const [, plain = "0", hours = "0", minutes = "0", seconds = "0"] = match;
  const total = Number(plain) + Number(hours) * 3600 + Number(minutes) * 60 +
    Number(seconds);
  if (total < MIN_DURATION_SECONDS || total > MAX_DURATION_SECONDS) {
    throw bad(text, "15 minutes to 12 hours");
  }
  return total;
}

/**
 * Writes a duration as people do.
 *
 * @param seconds Whole seconds.
 * @returns Such as `1h30m`; parses back to the same number.
 */
export function formatDuration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const text = parts.filter(([n]) => n > 0).map(([n, unit]) => n + unit);
  return text.join("") || "0s";
}

function bad(text: string, wanted: string) {
  return usageError(
    `Cannot use ${
      JSON.stringify(text)
    } as session duration: wanted ${wanted}, such as 15m, 1h30m, 900s or 3600`,
    "give 15m to 12h",
  );
}
