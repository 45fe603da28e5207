/**
 * A mock of STS with moods that a test changes while moat is running; the
 * bytes are those of `faulty_sts.ts`.
 *
 * @module
 */

import {
  type Behaviour,
  session,
  startFaultySts,
  stsError,
} from "./faulty_sts.ts";

/** How the mock answers. */
export type StsMood =
  /** With a session. */
  | "well"
  /** 403, AccessDenied. */
  | "denying"
  /** 200, but no XML. */
  | "garbage"
  /** 503. */
  | "unavailable"
  /** Not at all. */
  | "hanging";

/** A running mock; `await using` closes it, if the test has not. */
export interface MockSts extends AsyncDisposable {
  readonly url: string;
  /** May be changed at any time. */
  mood: StsMood;
  /** Life of the sessions in seconds. Default: 3600. */
  lifeSeconds: number;
  /** Calls so far, failed ones too. */
  readonly calls: number;
  /** `RoleSessionName` of each call. */
  readonly sessionNames: readonly string[];
  /** Holds all answers until the returned function is called. */
  hold(): () => void;
}

/** What the sessions of the mock hold. */
export const MOCK_SESSION = {
  accessKeyId: "ASIAMOCKMOCKMOCKMOCK",
  secretAccessKey: "mock-session-secret",
  sessionToken: "mock-session-token",
};

/** Starts the mock on a free port of 127.0.0.1. */
export function startMockSts(): MockSts {
  let held: Promise<void> = Promise.resolve();
  let closed: PromiseLike<void> | undefined;
  const sts = startFaultySts(async () => {
    await held;
    return behave(mock);
  });
  const mock: MockSts = {
    url: sts.url,
    mood: "well",
    lifeSeconds: 3600,
    get calls() {
      return sts.requests.length;
    },
    get sessionNames() {
      return sts.requests.map((form) => form.get("RoleSessionName") ?? "");
    },
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return resolve;
    },
    [Symbol.asyncDispose]: () => closed ??= sts[Symbol.asyncDispose](),
  };
  return mock;
}

function behave({ mood, lifeSeconds }: MockSts): Behaviour {
  switch (mood) {
    case "well":
      return session({
        expiration: new Date(Date.now() + lifeSeconds * 1000).toISOString(),
        secretAccessKey: MOCK_SESSION.secretAccessKey,
      });
    case "denying":
      return stsError(403, "AccessDenied", "User is not authorized");
    case "garbage":
      return { body: "<html>Please log in</html>" };
    case "unavailable":
      return stsError(503, "ServiceUnavailable", "Try later");
    case "hanging":
      return { manner: "hang" };
  }
}
