/**
 * A simulated STS: AWS's query protocol.
 *
 * It grants nothing: its sessions open no door at AWS. It is strict, so that
 * what passes here passes there.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html | AWS STS API reference}
 */

import { timingSafeEqual } from "node:crypto";
import type { Api, Troubles } from "./api.ts";
import { assumeRole } from "./assume_role.ts";
import type { Account, Call, Moment, OpenCall } from "./call.ts";
import type { AccessKey, KeyRing } from "./keys.ts";
import { Refusal } from "./refusal.ts";
import { getSessionToken } from "./session_token.ts";
import { readSignature, verifySignature } from "./sigv4.ts";
import { assumeRoleWithWebIdentity } from "./web_identity.ts";
import { headerValue, type RawRequest } from "./wire.ts";
import { renderXml, type XmlContent } from "./xml.ts";

/** The refusal that the fault `idp-error` makes. */
export const IDP_ERROR = new Refusal(
  400,
  "IDPCommunicationError",
  "The identity provider could not be reached to verify the token",
);

const TROUBLES: Troubles = {
  internal: new Refusal(500, "InternalFailure", "The simulator failed"),
  unavailable: new Refusal(
    503,
    "ServiceUnavailable",
    "The service is not available",
  ),
  throttled: new Refusal(400, "Throttling", "Rate exceeded"),
};

const VERSION = "2011-06-15";

/** Actions that must be signed. */
const SIGNED_ACTIONS: ReadonlyMap<
  string,
  (call: Call, account: Account) => XmlContent
> = new Map([
  ["AssumeRole", assumeRole],
  ["GetCallerIdentity", getCallerIdentity],
  ["GetSessionToken", getSessionToken],
]);

/** Actions that anyone may call; a signature is not looked at. */
const OPEN_ACTIONS: ReadonlyMap<
  string,
  (call: OpenCall, account: Account) => XmlContent
> = new Map([
  ["AssumeRoleWithWebIdentity", assumeRoleWithWebIdentity],
]);

/**
 * Makes the simulated service.
 *
 * Takes POST with a form and GET, on the path `/`, signed in the
 * `Authorization` header; GetCallerIdentity needs a signature, too.
 *
 * @param account The account's set-up; new sessions' keys are added.
 * @returns The service.
 */
export function createSts(account: Account): Api {
  return {
    actionOf(request) {
      const action = readParameters(request).get("Action") ?? "";
      const isKnown = SIGNED_ACTIONS.has(action) || OPEN_ACTIONS.has(action);
      return isKnown ? action : "other";
    },
    perform(request, moment, requestId) {
      const { name, result } = performAction(request, moment, account);
      return Promise.resolve(answer(200, requestId, `${name}Response`, {
        [`${name}Result`]: result,
        ResponseMetadata: { RequestId: requestId },
      }));
    },
    refuse,
    troubles: TROUBLES,
  };
}

function performAction(
  request: RawRequest,
  moment: Moment,
  account: Account,
): { name: string; result: XmlContent } {
  checkTarget(request);
  const parameters = readParameters(request);
  const open = OPEN_ACTIONS.get(parameters.get("Action") ?? "");
  if (open) {
    const name = readAction(parameters);
    return { name, result: open({ ...moment, parameters }, account) };
  }
  const caller = authenticate(request, account.keys, moment.now);
  const name = readAction(parameters);
  const call = { ...moment, parameters, caller };
  return { name, result: SIGNED_ACTIONS.get(name)?.(call, account) ?? {} };
}

function getCallerIdentity({ caller }: Call): XmlContent {
  const { arn, userId, account } = caller.identity;
  return { Arn: arn, UserId: userId, Account: account };
}

function checkTarget({ method, path }: RawRequest): void {
  if (path !== "/") {
    throw new Refusal(404, "NotFound", "STS has no path but /");
  }
  if (method !== "GET" && method !== "POST") {
    throw new Refusal(405, "MethodNotAllowed", "STS takes GET and POST");
  }
}

function readParameters(request: RawRequest): URLSearchParams {
  if (request.method === "GET") return new URLSearchParams(request.query);
  const type = headerValue(request, "content-type") ?? "";
  if (!/^application\/x-www-form-urlencoded *(;|$)/i.test(type)) {
    return new URLSearchParams();
  }
  return new URLSearchParams(new TextDecoder().decode(request.body));
}

function authenticate(
  request: RawRequest,
  keys: KeyRing,
  now: number,
): AccessKey {
  const signature = readSignature(request, "sts", now);
  const key = keys.find(signature.accessKeyId);
  const token = headerValue(request, "x-amz-security-token");
  if (!key || !sameToken(key.session?.token, token)) {
    throw new Refusal(
      403,
      "InvalidClientTokenId",
      "The security token included in the request is invalid.",
    );
  }
  if (key.session && key.session.expiresAt <= now) {
    throw new Refusal(
      403,
      "ExpiredToken",
      "The security token included in the request is expired",
    );
  }
  verifySignature(request, signature, key.secretAccessKey);
  return key;
}

/** A long-lived key has no token and may come with none. */
function sameToken(wanted: string | undefined, found: string | undefined) {
  if (wanted === undefined || found === undefined) return wanted === found;
  const [a, b] = [wanted, found].map((text) => new TextEncoder().encode(text));
  return !!a && !!b && a.length === b.length && timingSafeEqual(a, b);
}

function readAction(parameters: URLSearchParams): string {
  const name = parameters.get("Action");
  if (name === null) {
    throw new Refusal(400, "MissingAction", "The request is missing an action");
  }
  const version = parameters.get("Version");
  const isKnown = SIGNED_ACTIONS.has(name) || OPEN_ACTIONS.has(name);
  if (version === VERSION && isKnown) return name;
  throw new Refusal(
    400,
    "InvalidAction",
    `Could not find operation ${name} for version ${
      version ?? "NO_VERSION_SPECIFIED"
    }`,
  );
}

function refuse(
  { status, code, message }: Refusal,
  requestId: string,
): Response {
  const response = answer(status, requestId, "ErrorResponse", {
    Error: {
      Type: status < 500 ? "Sender" : "Receiver",
      Code: code,
      Message: message,
    },
    RequestId: requestId,
  });
  if (status === 405) response.headers.set("allow", "GET, POST");
  return response;
}

function answer(
  status: number,
  requestId: string,
  root: string,
  content: XmlContent,
): Response {
  return new Response(renderXml(root, content), {
    status,
    headers: { "content-type": "text/xml", "x-amzn-requestid": requestId },
  });
}
