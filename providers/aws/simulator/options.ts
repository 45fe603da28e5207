/**
 * From the flags of `moat simulate aws` to the simulated account.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import { parseRoleArn } from "../arn.ts";
import { valuesOf } from "../options/values.ts";
import { type Certificate, readPem } from "./certificate.ts";
import { parseDelay, parseFault } from "./faults.ts";
import type { SimulatorOptions } from "./handler.ts";

/** Longer than any session that can be asked for: 36 hours. */
const MAX_LIFE_SECONDS = 129_600;

/**
 * Reads the flags, and the files that they name.
 *
 * @param flags The values of `SIMULATE_FLAGS`.
 * @param clock For the simulated services.
 * @returns The account's set-up.
 * @throws {MoatError} `usage` for a bad value, `certificate-unreadable` for a bad trust anchor.
 */
export async function readOptions(
  flags: FlagValues,
  clock: Clock,
): Promise<SimulatorOptions> {
  const [externalId] = valuesOf(flags, "external-id");
  const [mfaCode] = valuesOf(flags, "mfa-code");
  const [life] = valuesOf(flags, "session-life");
  const [delay] = valuesOf(flags, "delay");
  const anchors = valuesOf(flags, "trust-anchor").map(readAnchors);
  return {
    clock,
    roles: valuesOf(flags, "role").map((role) => parseRoleArn(role).arn),
    requireMfa: flags["require-mfa"] === true,
    plan: {
      faults: valuesOf(flags, "fault").map(parseFault),
      delayMs: delay === undefined ? 0 : parseDelay(delay),
    },
    anchors: (await Promise.all(anchors)).flat(),
    ...externalId === undefined ? {} : { externalId },
    ...mfaCode === undefined ? {} : { mfaCode: parseCode(mfaCode) },
    ...life === undefined ? {} : { sessionLifeSeconds: parseLife(life) },
  };
}

function parseCode(text: string): string {
  if (/^\d{6}$/.test(text)) return text;
  throw usageError(
    `Cannot use ${JSON.stringify(text)} as MFA code: wanted six digits`,
    "such as 123456",
  );
}

function parseLife(text: string): number {
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (seconds >= 1 && seconds <= MAX_LIFE_SECONDS) return seconds;
  throw usageError(
    `Cannot end sessions after ${
      JSON.stringify(text)
    }: wanted 1 to ${MAX_LIFE_SECONDS} seconds`,
    "give plain seconds, such as 60",
  );
}

async function readAnchors(file: string): Promise<Certificate[]> {
  const anchors = await readCertificates(file);
  const hasWrong = anchors.some(({ isCa }) => !isCa);
  if (anchors.length > 0 && !hasWrong) return anchors;
  throw unusable(
    file,
    hasWrong ? "found one of another kind" : "found none",
  );
}

async function readCertificates(file: string): Promise<Certificate[]> {
  try {
    return readPem(await Deno.readTextFile(file));
  } catch (cause) {
    throw unusable(
      file,
      cause instanceof Deno.errors.NotFound
        ? "found no such file"
        : "found something that cannot be read",
      cause,
    );
  }
}

function unusable(file: string, found: string, cause?: unknown): MoatError {
  return new MoatError(
    "certificate-unreadable",
    `Cannot use ${
      JSON.stringify(file)
    } as trust anchor: wanted PEM certificates of a CA, ${found}`,
    {
      hint: "openssl x509 -in FILE -noout -text shows whether it has CA:TRUE",
      cause,
    },
  );
}
