/**
 * A simulated IAM Roles Anywhere: CreateSession.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-create-session.html | CreateSession}
 */

import { createHash } from "node:crypto";
import * as v from "valibot";
import { parseJson } from "$core/json.ts";
import type { RoleArn } from "../arn.ts";
import { MAX_DURATION_SECONDS, MIN_DURATION_SECONDS } from "../duration.ts";
import type { Api, Troubles } from "./api.ts";
import { type Account, formatExpiry, type Moment, roleExists } from "./call.ts";
import type { Certificate } from "./certificate.ts";
import { checkChain } from "./chain.ts";
import { mintRoleKey, type SessionKey } from "./keys.ts";
import { NAME_RULE, readRole } from "./parameters.ts";
import {
  accessDeniedException,
  Refusal,
  validationException,
} from "./refusal.ts";
import { isJson, type RawRequest } from "./wire.ts";
import { verifyX509Signature } from "./x509_signature.ts";

/** The path of the one operation. */
export const SESSIONS_PATH = "/sessions";

const DEFAULT_SECONDS = 3600;

const TROUBLES: Troubles = {
  internal: new Refusal(500, "InternalServerException", "The simulator failed"),
  unavailable: new Refusal(
    503,
    "ServiceUnavailableException",
    "The service is not available",
  ),
  throttled: new Refusal(429, "ThrottlingException", "Rate exceeded"),
};

/** What a call asks for. */
interface CreateSession {
  readonly role: RoleArn;
  /** Region and account of the trust anchor and of the profile. */
  readonly region: string;
  readonly account: string;
  readonly seconds: number;
  readonly sessionName: string | undefined;
}

const Arn = v.nullish(v.string());

const BodySchema = v.object({
  profileArn: Arn,
  roleArn: Arn,
  trustAnchorArn: Arn,
  durationSeconds: v.nullish(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(MIN_DURATION_SECONDS),
      v.maxValue(MAX_DURATION_SECONDS),
    ),
  ),
  roleSessionName: v.nullish(
    v.pipe(
      v.string(),
      v.minLength(NAME_RULE.min),
      v.maxLength(NAME_RULE.max),
      v.regex(/^[\w+=,.@-]*$/),
    ),
  ),
  sessionName: v.nullish(v.string()),
  instanceProperties: v.nullish(v.record(v.string(), v.string())),
});

/**
 * Makes the simulated service.
 *
 * @param account The account's set-up; new sessions' keys are added.
 * @param anchors The trust anchors; empty if every chain is trusted that hangs together.
 * @returns The service, on the path `/sessions`.
 */
export function createAnywhere(
  account: Account,
  anchors: readonly Certificate[],
): Api {
  return {
    actionOf: ({ method }) => method === "POST" ? "CreateSession" : "other",
    async perform(request, moment, requestId) {
      if (request.method !== "POST") {
        throw new Refusal(405, "MethodNotAllowed", "CreateSession takes POST");
      }
      const { now } = moment;
      const { leaf, chain, region } = await verifyX509Signature(request, now);
      const call = readCall(request);
      if (call.region !== region) {
        throw new Refusal(
          404,
          "ResourceNotFoundException",
          `Trust anchor not found in ${region}`,
        );
      }
      await checkChain(leaf, { chain, anchors, now });
      return answer(201, createSession(call, leaf, account, moment), requestId);
    },
    refuse,
    troubles: TROUBLES,
  };
}

function createSession(
  call: CreateSession,
  leaf: Certificate,
  settings: Account,
  { endOf }: Moment,
): unknown {
  const { role, seconds, sessionName = leaf.serial.toString(16) } = call;
  if (!roleExists(role, settings)) {
    throw accessDeniedException(`Unable to assume role for ${role.arn}`);
  }
  if (seconds > settings.maxSessionSeconds) {
    throw validationException(
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    );
  }
  const sourceIdentity = identityOf(leaf);
  const key = mintRoleKey(role, sessionName, endOf(seconds), {
    sourceIdentity,
  });
  settings.keys.add(key);
  return {
    credentialSet: [{
      ...describeKey(key),
      packedPolicySize: 0,
      roleArn: role.arn,
      sourceIdentity,
    }],
    subjectArn: subjectArn(call, leaf),
  };
}

function describeKey(
  { accessKeyId, secretAccessKey, identity, session }: SessionKey,
) {
  return {
    assumedRoleUser: { arn: identity.arn, assumedRoleId: identity.userId },
    credentials: {
      accessKeyId,
      expiration: formatExpiry(session.expiresAt),
      secretAccessKey,
      sessionToken: session.token,
    },
  };
}

/** STS takes fewer characters than a common name may have. */
function identityOf({ commonNames }: Certificate): string | undefined {
  const [name] = commonNames;
  return name &&
    `CN=${name}`.replace(/[^\w+=,.@-]/g, "_").slice(0, NAME_RULE.max);
}

/** The same subject has the same ID in every run, in the form of a UUID. */
function subjectArn(
  { role, region, account }: CreateSession,
  { subject }: Certificate,
): string {
  const id = createHash("sha256").update(subject).digest("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");
  return `arn:${role.partition}:rolesanywhere:${region}:${account}:subject/${id}`;
}

/** ARNs may come in the query or in the body; the rest comes in the body. */
function readCall(request: RawRequest): CreateSession {
  const query = new URLSearchParams(request.query);
  const body = readBody(request);
  const arn = (name: "profileArn" | "roleArn" | "trustAnchorArn") =>
    query.get(name) ?? body[name] ?? "";
  const anchor = readArn(arn("trustAnchorArn"), "trust-anchor");
  const profile = readArn(arn("profileArn"), "profile");
  const role = readRoleArn(arn("roleArn"));
  const isOneAccount = profile.account === anchor.account &&
    role.account === anchor.account;
  const isOnePlace = profile.region === anchor.region &&
    [anchor, profile].every(({ partition }) => partition === role.partition);
  if (!isOneAccount || !isOnePlace) {
    throw validationException(
      "Role, profile and trust anchor must be of one account, profile and trust anchor of one region",
    );
  }
  return {
    role,
    region: anchor.region,
    account: anchor.account,
    seconds: body.durationSeconds ?? DEFAULT_SECONDS,
    sessionName: body.roleSessionName ?? undefined,
  };
}

function readBody(request: RawRequest): v.InferOutput<typeof BodySchema> {
  if (!isJson(request)) {
    throw validationException("The content type must be application/json");
  }
  const result = v.safeParse(BodySchema, parseJson(request.body));
  if (result.success) return result.output;
  const place = v.getDotPath(result.issues[0]);
  throw validationException(
    place
      ? `Value at '${place}' failed to satisfy constraint`
      : "Unable to parse request body",
  );
}

function readArn(
  arn: string,
  resource: "profile" | "trust-anchor",
): { partition: string; region: string; account: string } {
  const match =
    /^arn:(aws(?:-[a-z]+)*):rolesanywhere:([a-z0-9-]{1,64}):(\d{12}):([a-z-]+)\/[\w-]{1,64}$/
      .exec(arn);
  const [, partition = "", region = "", account = "", kind] = match ?? [];
  if (kind === resource) return { partition, region, account };
  throw validationException(
    `${JSON.stringify(arn)} is not the ARN of a ${resource}`,
  );
}

function readRoleArn(arn: string): RoleArn {
  try {
    return readRole(arn);
  } catch {
    throw validationException(
      `${JSON.stringify(arn)} is not the ARN of a role`,
    );
  }
}

function refuse(
  { status, code, message }: Refusal,
  requestId: string,
): Response {
  const response = answer(status, { message }, requestId);
  response.headers.set("x-amzn-errortype", code);
  if (status === 405) response.headers.set("allow", "POST");
  return response;
}

function answer(status: number, content: unknown, requestId: string): Response {
  return new Response(JSON.stringify(content), {
    status,
    headers: {
      "content-type": "application/json",
      "x-amzn-requestid": requestId,
    },
  });
}
