/**
 * How the SDK's clients are set up: those of STS for a grant's own roles and
 * for the roles of its source alike.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import type { Instant } from "./session.ts";
import type { StsAddress } from "./settings.ts";
import type { ClockSkew } from "./skew.ts";
import { openTransport } from "./transport.ts";

/** Keeps the SDK from writing to the console: moat's errors say it all. */
export const SDK_LOGGER = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/** How often the SDK makes a call that fails for a while. */
export const SDK_ATTEMPTS = 2;

/** The part of an SDK client's configuration that {@link stsClientAddress} gives. */
export interface StsClientAddress {
  /** Keeps the SDK from looking in the environment and in profiles. */
  readonly ignoreConfiguredEndpointUrls: true;
  /** The SDK's own default; a variable with a wrong one makes every call fail. */
  readonly defaultsMode: "legacy";
  /** What STS takes, whatever a variable prefers. */
  readonly authSchemePreference: string[];
  /** Absent for AWS's own. */
  readonly endpoint?: string;
}

/**
 * Where STS is: where the grant recorded it, else AWS's own address. What the
 * environment or a profile of this process says does not count.
 *
 * @param at What the grant recorded.
 * @returns What an SDK client takes.
 */
export function stsClientAddress(
  { stsEndpoint }: Pick<StsAddress, "stsEndpoint">,
): StsClientAddress {
  return {
    ignoreConfiguredEndpointUrls: true,
    defaultsMode: "legacy",
    authSchemePreference: ["sigv4"],
    ...(stsEndpoint && { endpoint: stsEndpoint }),
  };
}

/** What {@link setUpSts} needs from outside. */
export interface StsSurroundings {
  /** This host's. */
  readonly clock: Clock;
  /** What is known of the servers' clocks; learns. */
  readonly skew: ClockSkew;
}

/** The set-up of one client; `using` ends its requests. */
export interface StsSetUp extends Disposable {
  /** What an STS client takes, apart from credentials. */
  readonly config: StsClientAddress & {
    /** Of STS. */
    readonly region: string;
    /** Reaches the network. */
    readonly requestHandler: object;
    /** Silent. */
    readonly logger: typeof SDK_LOGGER;
    /** The first one included. */
    readonly maxAttempts: number;
    /** STS's time minus this host's, in ms. */
    readonly systemClockOffset: number;
  };
  /** Tells the time by both clocks. */
  now(): Instant;
}

/**
 * Sets up a client of STS for one call.
 *
 * @param at What the grant recorded.
 * @param surroundings The clocks.
 * @param signal Ends its requests.
 * @returns The set-up.
 * @throws {MoatError} `ca-bundle-unreadable`.
 */
export async function setUpSts(
  at: StsAddress,
  { clock, skew }: StsSurroundings,
  signal?: AbortSignal,
): Promise<StsSetUp> {
  const place = at.stsEndpoint ?? at.region;
  const transport = await openTransport(
    at,
    (date) => skew.learn(place, date, clock.now()),
    signal ? { signal } : {},
  );
  return {
    config: {
      region: at.region,
      requestHandler: transport.requestHandler,
      logger: SDK_LOGGER,
      maxAttempts: SDK_ATTEMPTS,
      systemClockOffset: skew.offset(place),
      ...stsClientAddress(at),
    },
    now() {
      const local = clock.now();
      return { local, server: local + skew.offset(place) };
    },
    [Symbol.dispose]: () => transport[Symbol.dispose](),
  };
}
