/**
 * What the kinds of source have in common: what they are given, what they
 * give, and how they fail.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import type { Platform } from "$core/platform.ts";
import type { SourceHop } from "../hops.ts";
import type { SourceKind } from "../settings.ts";
import type { ClockSkew } from "../skew.ts";

/** Bound of a whole look in ms, programs and roles included. */
export const SOURCE_TIMEOUT_MS = 12_000;

/** A snapshot of environment variables. */
export type Environment = Readonly<Record<string, string>>;

/** What a source needs of the machine. */
export type SourcePlatform = Pick<Platform, "clock" | "env" | "setVariable">;

/** What is looked for. */
export interface SourceLook extends Omit<SourceHop, "kind"> {
  /** Clock and environment. */
  readonly platform: SourcePlatform;
  /** What is known of STS's clock. */
  readonly skew: ClockSkew;
}

/** One look for credentials. */
export interface SourceCall extends SourceLook {
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Bound of one request to the instance metadata service, in ms. Default: the SDK's, 1 s. */
  readonly instanceTimeoutMs?: number;
}

/** Credentials as the SDK has them. */
export interface SdkCredentials {
  /** Not a secret. */
  readonly accessKeyId: string;
  /** The key itself. */
  readonly secretAccessKey: string;
  /** With temporary credentials only. */
  readonly sessionToken?: string | undefined;
  /** When they end, if that is known. */
  readonly expiration?: Date | undefined;
}

/**
 * Bounds a call in time.
 *
 * @param clock Whose time.
 * @param limitMs How long it may take.
 * @param late What to fail with when it takes longer.
 * @param work The call; the signal tells it that nobody waits any longer.
 * @returns What the call gave.
 */
export function inTime<T>(
  clock: Clock,
  limitMs: number,
  late: Error,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    const cancel = clock.after(limitMs, () => {
      reject(late);
      stop.abort();
    });
    work(stop.signal).then(resolve, reject).finally(cancel);
  });
}

/** A failure as the SDK's providers have it, for `mapAwsError` to put in words. */
export class ProviderFailure extends Error {
  /** What `mapAwsError` knows it by. */
  override readonly name = "CredentialsProviderError";
  /** Whether the next kind is asked. */
  readonly tryNextLink: boolean;

  /**
   * Makes a failure.
   *
   * @param message As the SDK words it; without a program's output.
   * @param tryNextLink Default: true, as in the SDK.
   */
  constructor(message: string, tryNextLink = true) {
    super(message);
    this.tryNextLink = tryNextLink;
  }
}

/**
 * Whether a failure lets the next kind be asked, as in the SDK's chain. There
 * the container endpoint is the last link: once it is set up, instance
 * metadata is not asked.
 *
 * @param kind What failed.
 * @param error What it threw.
 */
export function triesNextLink(kind: SourceKind, error: unknown): boolean {
  return kind !== "container" &&
    (error as { tryNextLink?: unknown } | undefined)?.tryNextLink === true;
}
