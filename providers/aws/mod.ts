/**
 * The AWS provider: hands out short-lived sessions of a role.
 *
 * @module
 */

import type { Platform } from "$core/platform.ts";
import type { Answer, Provider } from "$core/provider.ts";
import { apiHosts } from "./api_hosts.ts";
import { BINDING_FLAGS, readBindingFlags } from "./options/binding.ts";
import {
  CONFLICTING_ENV,
  CONTAINER_PATH,
  containerEnv,
  containerMounts,
  MODES,
  PROCESS_PATH,
} from "./container.ts";
import { checkUrl } from "./check_url.ts";
import { createControlMethods } from "./control_methods.ts";
import { SessionEngine } from "./engine.ts";
import { expiriesOf } from "./expiries.ts";
import { advise, describe, GRANT_EXAMPLES, grantAws } from "./grant.ts";
import { GRANT_FLAGS } from "./options/grant.ts";
import { containerAnswer, processAnswer, type Session } from "./session.ts";
import { readSettings } from "./settings.ts";
import { SIMULATE_FLAGS } from "./simulator/flags.ts";
import { createMetadata } from "./metadata/service.ts";
import { createForeignBindings } from "./needroleshere/mod.ts";
import { environmentIdentity } from "./sources/identity.ts";
import { preloadSdk } from "./sts.ts";
import { vend, VendRecorders } from "./vend.ts";

/** `credential_process` has no short time-out in any SDK. */
const PROCESS_HOLD_MS = 8000;

/** The JavaScript SDK gives up on a container endpoint after 1 s. */
const CONTAINER_HOLD_MS = 900;

/**
 * Makes the AWS provider.
 *
 * @param platform Clock, environment, log, audit.
 * @returns The provider.
 */
export function createAwsProvider(platform: Platform): Provider {
  const { clock, env } = platform;
  const engine = new SessionEngine(platform);
  const vends = new VendRecorders(platform);

  return {
    name: "aws",
    aliases: [],
    description: "Short-lived sessions of an IAM role",
    grantExamples: GRANT_EXAMPLES,
    grantFlags: GRANT_FLAGS,
    bindingFlags: BINDING_FLAGS,
    modes: MODES,
    checkUrl,
    metadata: (options) => createMetadata({ platform, engine, vends }, options),
    async environmentGrant() {
      const made = await import("./metadata/environment_grant.ts");
      return await made.environmentGrant(platform);
    },
    foreignBindings: createForeignBindings(engine, platform),
    conflictingEnv: CONFLICTING_ENV,
    trustVariables: ["AWS_CA_BUNDLE"],
    simulateFlags: SIMULATE_FLAGS,
    controlMethods: createControlMethods(engine, vends, platform),

    grant: (request) => grantAws(request, platform, engine),
    configureProxy(proxy, grant) {
      // AWS requests are signed, so there is no header to inject.
      for (const host of apiHosts(readSettings(grant).region)) {
        proxy.allow(host);
      }
    },
    containerEnv: (grant, container) =>
      containerEnv(readSettings(grant), container),
    containerMounts: (grant, container) =>
      containerMounts(readSettings(grant), container),
    registerEndpoints(endpoints, grant) {
      const { binding } = endpoints;
      const recorder = vends.recorder(grant, binding);
      const serve = (
        path: string,
        holdMs: number,
        format: (session: Session) => Answer,
      ) => {
        const session = engine.sessions(grant, binding, holdMs);
        endpoints.get(path, vend(session, format, recorder));
      };
      serve(PROCESS_PATH, PROCESS_HOLD_MS, processAnswer);
      serve(CONTAINER_PATH, CONTAINER_HOLD_MS, containerAnswer);
    },
    impliedDependencies: () => ["aws"],
    cleanup(binding) {
      vends.end(binding);
      engine.end(binding);
    },

    readBindingFlags,
    forget: (grantName) => engine.forget(grantName),
    async prefetch(grant, binding) {
      await preloadSdk();
      if (!binding) return await engine.prepare(grant);
      await engine.sessions(grant, binding, PROCESS_HOLD_MS)();
    },
    expiries: (grant) => expiriesOf(grant, clock),
    async explain(grant) {
      const { explain } = await import("./explain.ts");
      return await explain(grant, platform);
    },
    environmentIdentity(grant) {
      if (!grant) return environmentIdentity({ order: ["environment"] }, env);
      const { source, anywhere, webIdentityTokenFile } = readSettings(grant);
      if (anywhere || webIdentityTokenFile) return undefined;
      return environmentIdentity(source, env);
    },
    async sourceProcess(grant) {
      const { mfa, source } = readSettings(grant);
      if (mfa?.command) return mfa.command;
      const { sourceProcess } = await import("./source.ts");
      return await sourceProcess(source);
    },
    describe,
    async advise(grant) {
      return [...await advise(grant), ...engine.advise(grant.name)];
    },
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
