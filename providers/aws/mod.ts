/**
 * The AWS provider: hands out short-lived sessions of a role.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { Answer, Provider } from "$core/provider.ts";
import {
  CONFLICTING_ENV,
  CONTAINER_PATH,
  containerEnv,
  containerMounts,
  PROCESS_PATH,
} from "./container.ts";
import { formatDuration } from "./duration.ts";
import { GRANT_EXAMPLES, GRANT_FLAGS, grantAws } from "./grant.ts";
import { containerAnswer, processAnswer, type Session } from "./session.ts";
import { SessionCache } from "./session_cache.ts";
import { type AwsSettings, readSettings } from "./settings.ts";
import { SIMULATE_FLAGS } from "./simulator/flags.ts";
import { readProfile } from "./source.ts";
import { assumeRole, preloadSdk } from "./sts.ts";
import { vend, VendRecorders } from "./vend.ts";

/** `credential_process` has no short time-out in any SDK. */
const PROCESS_HOLD_MS = 8000;

/** The JavaScript SDK gives up on a container endpoint after 1 s. */
const CONTAINER_HOLD_MS = 900;

/** Below this, botocore asks for new credentials on every call. */
const RECOMMENDED_SECONDS = 3600;

/**
 * Makes the AWS provider.
 *
 * @param platform Clock, environment, log, audit.
 * @returns The provider.
 */
export function createAwsProvider(platform: Platform): Provider {
  const { clock, env, log } = platform;
  const cache = new SessionCache({ clock, log });
  const vends = new VendRecorders(platform);

  const sessionOf = (grant: Grant, binding: Binding, holdMs: number) => {
    const settings = readSettings(grant);
    const name = settings.sessionName ?? `moat-${binding.name}`;
    // A session of the grant's own name may be shared by several bindings.
    const owner = settings.sessionName === undefined ? binding.name : null;
    const key = JSON.stringify([grant.name, owner, name, settings]);
    return () =>
      cache.get(key, () => assumeRole(settings, name, platform), holdMs);
  };

  return {
    name: "aws",
    aliases: [],
    description: "Short-lived sessions of an IAM role",
    grantExamples: GRANT_EXAMPLES,
    grantFlags: GRANT_FLAGS,
    conflictingEnv: CONFLICTING_ENV,
    simulateFlags: SIMULATE_FLAGS,

    grant: (request) => grantAws(request, platform),
    configureProxy() {
      // AWS requests are signed, so there is no header to inject.
    },
    containerEnv: (grant, container) =>
      containerEnv(readSettings(grant), container),
    containerMounts: (grant, container) =>
      containerMounts(readSettings(grant), container),
    registerEndpoints(endpoints, grant) {
      const { binding } = endpoints;
      const vended = vends.recorder(grant, binding);
      const serve = (
        path: string,
        holdMs: number,
        format: (session: Session) => Answer,
      ) =>
        endpoints.get(
          path,
          vend(sessionOf(grant, binding, holdMs), format, vended, log),
        );
      serve(PROCESS_PATH, PROCESS_HOLD_MS, processAnswer);
      serve(CONTAINER_PATH, CONTAINER_HOLD_MS, containerAnswer);
    },
    impliedDependencies: () => ["aws"],
    cleanup(binding) {
      vends.end(binding);
      cache.drop((key) => JSON.parse(key)[1] === binding.name);
    },

    forget(grantName) {
      cache.drop((key) => JSON.parse(key)[0] === grantName);
    },
    async prefetch(grant, binding) {
      await preloadSdk();
      await sessionOf(grant, binding, PROCESS_HOLD_MS)();
    },
    async sourceProcess(grant) {
      const { process } = await readProfile(readSettings(grant).source);
      return process;
    },
    describe: (grant) => describe(readSettings(grant)),
    advise: (grant) => advise(readSettings(grant)),
    async simulate(request) {
      const { simulateAws } = await import("./simulator/mod.ts");
      return await simulateAws(request, clock);
    },
    async whoami() {
      const { whoami } = await import("./whoami.ts");
      return await whoami(env, clock);
    },
  };
}

function describe(settings: AwsSettings): [string, string][] {
  const { source } = settings;
  const lines: [string, string | undefined][] = [
    ["role", settings.role],
    ["region", settings.region],
    ["session-duration", formatDuration(settings.durationSeconds)],
    ["external-id", settings.externalId],
    ["session-name", settings.sessionName],
    [
      "source",
      source.kind === "profile"
        ? `profile ${source.profile}`
        : "default chain (environment, profile, container, instance)",
    ],
    ["sts-endpoint", source.stsEndpoint],
  ];
  return lines.filter((line): line is [string, string] => !!line[1]);
}

function advise(settings: AwsSettings): string[] {
  if (settings.durationSeconds >= RECOMMENDED_SECONDS) return [];
  return [
    "for long-lived SDK clients --session-duration 1h is better: botocore asks for new credentials on every call once less than 15m are left",
  ];
}
