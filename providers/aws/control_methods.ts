/**
 * What commands of the same user can ask the running proxy: credentials for
 * the host's own programs, and a code for an MFA session.
 *
 * @module
 */

import * as v from "valibot";
import type { Binding } from "$core/binding.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { Grant, JsonObject } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { ControlMethod, ProxyAccess } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { readSecrets, withSecrets } from "./credential.ts";
import type { SessionEngine } from "./engine.ts";
import { checkMfaCode } from "./mfa.ts";
import { processAnswer } from "./session.ts";
import type { VendRecorders } from "./vend.ts";

/** How long `moat credential-process` waits; no SDK gives up earlier. */
const HOLD_MS = 8000;

/** The name under which the host's own programs appear in logs. */
const HOST_BINDING = "host";

/** The name of a grant that was given by flags and is not stored. */
const FLAGS_GRANT = "aws:credential-process";

const CredentialsSchema = v.union([
  v.strictObject({ grant: v.string() }),
  v.strictObject({ binding: v.string() }),
  v.strictObject({
    settings: v.record(v.string(), v.unknown()),
    passphrase: v.exactOptional(v.string()),
  }),
]);
const MfaSchema = v.strictObject({ grant: v.string(), code: v.string() });

/**
 * Makes the methods.
 *
 * @param engine Obtains sessions.
 * @param vends Told of what is handed out.
 * @param platform Clock and environment.
 * @returns `credentials` and `mfa`.
 */
export function createControlMethods(
  engine: SessionEngine,
  vends: VendRecorders,
  platform: Platform,
): Readonly<Record<string, ControlMethod>> {
  return {
    async credentials(params, proxy) {
      const { grant, binding } = await findTarget(params, proxy, platform);
      const recorder = vends.recorder(grant, binding);
      try {
        const session = await engine.sessions(grant, binding, HOLD_MS)();
        recorder.vended(session);
        return { body: processAnswer(session).body };
      } catch (error) {
        if (error instanceof MoatError) recorder.refused(error);
        throw error;
      }
    },
    async mfa(params, proxy) {
      const { grant: name, code } = check(MfaSchema, params);
      const grant = await openMfa(engine, await proxy.grant(name), code);
      await proxy.update(grant);
      return { expiresAt: grant.expiresAt ?? 0 };
    },
  };
}

/**
 * Opens a grant's MFA session and keeps it in the grant.
 *
 * @param engine Makes the call.
 * @param grant The grant.
 * @param code Six digits.
 * @returns The grant, to be stored.
 * @throws {MoatError} `usage` or `mfa-rejected`.
 */
export async function openMfa(
  engine: SessionEngine,
  grant: Grant,
  code: string,
): Promise<Grant> {
  const mfaSession = await engine.openMfa(grant, checkMfaCode(code));
  return withSecrets(grant, { ...readSecrets(grant), mfaSession });
}

/**
 * The binding of the host's own programs.
 *
 * @param env Who the user is.
 * @returns A binding without a token: it is only reached by control socket.
 */
export function hostBinding(env: Platform["env"]): Binding {
  const user = env["USER"] || env["LOGNAME"];
  return {
    name: HOST_BINDING,
    grants: [],
    subject: user ? { user } : {},
  };
}

/**
 * A grant that was given by flags.
 *
 * @param settings As {@link writeSettings} gives them.
 * @param passphrase Of the private key.
 * @returns A grant that is stored nowhere.
 */
export function flagsGrant(settings: JsonObject, passphrase?: string): Grant {
  const secrets = passphrase === undefined
    ? {}
    : { passphrase: new Secret(passphrase) };
  return withSecrets({
    provider: "aws",
    name: FLAGS_GRANT,
    createdAt: 0,
    settings,
  }, secrets);
}

async function findTarget(
  params: JsonObject,
  proxy: ProxyAccess,
  { env }: Platform,
): Promise<{ grant: Grant; binding: Binding }> {
  const target = check(CredentialsSchema, params);
  if ("settings" in target) {
    const { settings, passphrase } = target;
    return {
      grant: flagsGrant(settings as JsonObject, passphrase),
      binding: hostBinding(env),
    };
  }
  if ("grant" in target) {
    const grant = await proxy.grant(target.grant);
    return { grant: checkProvider(grant), binding: hostBinding(env) };
  }
  const binding = await proxy.binding(target.binding);
  const name = binding?.grants.find((g) => g.split(":")[0] === "aws");
  if (!binding || !name) throw noBinding(target.binding);
  return { grant: await proxy.grant(name), binding };
}

/**
 * Refuses a grant of another provider.
 *
 * @param grant Any grant.
 * @returns The same grant.
 * @throws {MoatError} `usage`.
 */
export function checkProvider(grant: Grant): Grant {
  if (grant.provider === "aws") return grant;
  throw usageError(
    `Cannot use grant "${grant.name}" for AWS credentials: it is of provider "${grant.provider}"`,
    "moat grant list shows those there are",
  );
}

function noBinding(name: string): MoatError {
  return new MoatError(
    "binding-not-found",
    `Cannot find a live binding ${JSON.stringify(name)} with a grant of aws`,
    { hint: "moat bindings lists those there are" },
  );
}

function check<T>(schema: v.GenericSchema<unknown, T>, params: JsonObject): T {
  const result = v.safeParse(schema, params);
  if (result.success) return result.output;
  throw usageError("Cannot read the request: its parameters are wrong");
}
