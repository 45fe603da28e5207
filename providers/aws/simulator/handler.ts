/**
 * The simulated services behind one handler, with the faults that it is told
 * to make.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MAX_DURATION_SECONDS } from "../duration.ts";
import { createAnywhere, SESSIONS_PATH } from "./anywhere.ts";
import type { Api } from "./api.ts";
import type { Account, Moment } from "./call.ts";
import type { Certificate } from "./certificate.ts";
import { answerControl } from "./control.ts";
import { type FaultKind, type FaultPlan, Faults } from "./faults.ts";
import { SIMULATOR_MFA_CODE } from "./flags.ts";
import { type AccessKey, KeyRing, SIMULATOR_USER } from "./keys.ts";
import { Refusal } from "./refusal.ts";
import { createSts, IDP_ERROR } from "./sts.ts";
import { readRequest } from "./wire.ts";

/** How the simulated account is set up. */
export interface SimulatorOptions {
  /** Dates sessions and judges the clients' clocks. */
  readonly clock: Clock;
  /** ARNs of the roles that exist. Default: every role exists. */
  readonly roles?: readonly string[];
  /** What every role's trust policy wants as external ID. Default: none. */
  readonly externalId?: string;
  /** Maximum session duration of every role. Default: 43,200 seconds. */
  readonly maxSessionSeconds?: number;
  /** Long-lived access keys. Default: {@link SIMULATOR_USER}. */
  readonly users?: readonly AccessKey[];
  /** How many sessions are remembered. Default: 1000. */
  readonly maxSessions?: number;
  /** The code that every MFA device shows. Default: `123456`. */
  readonly mfaCode?: string;
  /** Whether a user must have given a code to assume a role. Default: false. */
  readonly requireMfa?: boolean;
  /** Roles Anywhere's trust anchors. Default: every chain is trusted that hangs together. */
  readonly anchors?: readonly Certificate[];
  /** After how many seconds every session ends at the latest. Default: as asked for. */
  readonly sessionLifeSeconds?: number;
  /** What goes wrong from the start. Default: nothing. */
  readonly plan?: FaultPlan;
  /** Ends delays and hanging calls. Default: nothing does but the client. */
  readonly stop?: AbortSignal;
}

/**
 * Answers a request; never rejects.
 *
 * @param request The request.
 * @param isLoopback Whether it came to a loopback address, where the simulator can be controlled. Default: false.
 */
export type Handler = (
  request: Request,
  isLoopback?: boolean,
) => Promise<Response>;

const MAX_SESSIONS = 1000;

/** How long ago a session of the fault `expired` ended, in ms. */
const EXPIRED_SINCE_MS = 60_000;

/** What the fault `garbage` answers. */
const GARBAGE = "\ufffd<AssumeRoleResp{]\u0000";

/**
 * Makes the handler of a simulated STS and Roles Anywhere with a memory of
 * their own.
 *
 * @param options The account's set-up and the clock.
 * @returns A handler for `Deno.serve`.
 */
export function createHandler(options: SimulatorOptions): Handler {
  const { clock, stop } = options;
  const account = readAccount(options);
  const faults = new Faults(options.plan ?? { faults: [], delayMs: 0 });
  const sts = createSts(account);
  const anywhere = createAnywhere(account, options.anchors ?? []);
  return dated(clock, async (request, isLoopback = false) => {
    const requestId = crypto.randomUUID();
    const isAnywhere = /^[a-z]+:\/\/[^/?#]*([^?#]*)/i.exec(request.url)?.[1] ===
      SESSIONS_PATH;
    const api = isAnywhere ? anywhere : sts;
    try {
      const raw = await readRequest(request);
      const control = isLoopback ? answerControl(raw, faults) : undefined;
      if (control) return control;
      const { kind, delayMs } = faults.next(api.actionOf(raw));
      if (delayMs > 0) await pause(clock, delayMs, request, stop);
      if (kind === "hang") await pause(clock, undefined, request, stop);
      const moment = momentOf(options, kind);
      return faultyAnswer(kind, api, requestId) ??
        await api.perform(raw, moment, requestId);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : api.troubles.internal;
      return api.refuse(refusal, requestId);
    }
  });
}

/** Clients learn the service's time from its answers. */
function dated(clock: Clock, handler: Handler): Handler {
  return async (request, isLoopback) => {
    const response = await handler(request, isLoopback);
    response.headers.set("date", new Date(clock.now()).toUTCString());
    return response;
  };
}

function readAccount(options: SimulatorOptions): Account {
  const { externalId } = options;
  return {
    roles: options.roles ?? [],
    maxSessionSeconds: options.maxSessionSeconds ?? MAX_DURATION_SECONDS,
    mfaCode: options.mfaCode ?? SIMULATOR_MFA_CODE,
    requireMfa: options.requireMfa ?? false,
    keys: new KeyRing(
      options.users ?? [SIMULATOR_USER],
      options.maxSessions ?? MAX_SESSIONS,
    ),
    ...externalId === undefined ? {} : { externalId },
  };
}

function momentOf(
  { clock, sessionLifeSeconds = Infinity }: SimulatorOptions,
  kind: FaultKind | undefined,
): Moment {
  const now = clock.now();
  return {
    now,
    endOf(seconds) {
      const lifeMs = kind === "expired"
        ? -EXPIRED_SINCE_MS
        : Math.min(seconds, sessionLifeSeconds) * 1000;
      return Math.floor((now + lifeMs) / 1000) * 1000;
    },
  };
}

/** Undefined if the call is to be performed. */
function faultyAnswer(
  kind: FaultKind | undefined,
  api: Api,
  requestId: string,
): Response | undefined {
  const { internal, unavailable, throttled } = api.troubles;
  switch (kind) {
    case "500":
      return api.refuse(internal, requestId);
    case "503":
    case "hang":
      return api.refuse(unavailable, requestId);
    case "throttle":
      return api.refuse(throttled, requestId);
    case "idp-error":
      return api.refuse(IDP_ERROR, requestId);
    case "garbage":
      return new Response(GARBAGE, { headers: { "content-type": "text/xml" } });
    case "empty":
      return new Response("", { headers: { "content-type": "text/xml" } });
    case "reset":
      return brokenOff();
    default:
      return undefined;
  }
}

/** Deno closes a connection without a byte when the body fails at once. */
function brokenOff(): Response {
  return new Response(
    new ReadableStream({
      start(controller) {
        controller.error(new Error("the fault reset"));
      },
    }),
  );
}

/** Waits for so long, or for ever, unless the client or the simulator goes. */
function pause(
  clock: Clock,
  delayMs: number | undefined,
  { signal }: Request,
  stop: AbortSignal | undefined,
): Promise<void> {
  const signals = stop ? [signal, stop] : [signal];
  return new Promise((resolve) => {
    let cancel = () => {};
    const done = () => {
      cancel();
      for (const signal of signals) signal.removeEventListener("abort", done);
      resolve();
    };
    for (const signal of signals) signal.addEventListener("abort", done);
    if (delayMs !== undefined) cancel = clock.after(delayMs, done);
    if (signals.some(({ aborted }) => aborted)) done();
  });
}
