/**
 * A simulated STS: AWS's query protocol with AssumeRole and GetCallerIdentity.
 *
 * It grants nothing: its sessions open no door at AWS. It is strict, so that
 * what passes here passes there.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html | AWS STS API reference}
 */

import { timingSafeEqual } from "node:crypto";
import type { Clock } from "$core/clock.ts";
import { MAX_DURATION_SECONDS } from "../duration.ts";
import { assumeRole, type Call } from "./assume_role.ts";
import { type AccessKey, KeyRing, SIMULATOR_USER } from "./keys.ts";
import { Refusal } from "./refusal.ts";
import {
  headerValue,
  type RawRequest,
  readSignature,
  verifySignature,
} from "./sigv4.ts";
import { renderXml, type XmlContent } from "./xml.ts";

/** How the simulated account is set up. */
export interface StsOptions {
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
}

/** Answers a request; never rejects. */
export type Handler = (request: Request) => Promise<Response>;

const VERSION = "2011-06-15";

/** Far more than any call needs; a policy has 2048 characters at most. */
const MAX_BODY_BYTES = 65_536;

const MAX_SESSIONS = 1000;

/**
 * Makes the handler of a simulated STS with a memory of its own.
 *
 * Takes POST with a form and GET, on the path `/`, signed in the
 * `Authorization` header; GetCallerIdentity needs a signature, too.
 *
 * @param options The account's set-up and the clock.
 * @returns A handler for `Deno.serve`.
 */
export function createStsHandler(options: StsOptions): Handler {
  const { clock, externalId } = options;
  const keys = new KeyRing(
    options.users ?? [SIMULATOR_USER],
    options.maxSessions ?? MAX_SESSIONS,
  );
  const settings = {
    roles: options.roles ?? [],
    maxSessionSeconds: options.maxSessionSeconds ?? MAX_DURATION_SECONDS,
    ...externalId === undefined ? {} : { externalId },
  };
  const actions: ReadonlyMap<string, (call: Call) => XmlContent> = new Map([
    ["AssumeRole", (call: Call) => assumeRole(call, settings, keys)],
    ["GetCallerIdentity", getCallerIdentity],
  ]);
  return async (request) => {
    const requestId = crypto.randomUUID();
    try {
      const raw = await readRequest(request);
      const parameters = readParameters(raw);
      const caller = authenticate(raw, keys, clock.now());
      const name = readAction(parameters, actions);
      const result = actions.get(name)?.({
        caller,
        parameters,
        now: clock.now(),
      });
      return answer(200, requestId, `${name}Response`, {
        [`${name}Result`]: result,
        ResponseMetadata: { RequestId: requestId },
      });
    } catch (error) {
      return refuse(requestId, error);
    }
  };
}

function getCallerIdentity({ caller }: Call): XmlContent {
  const { arn, userId, account } = caller.identity;
  return { Arn: arn, UserId: userId, Account: account };
}

async function readRequest(request: Request): Promise<RawRequest> {
  // Not by URL, which would normalise what the client has signed.
  const target = request.url.replace(/^[a-z]+:\/\/[^/?#]*/i, "");
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  if (path !== "/" && path !== "") {
    throw new Refusal(404, "NotFound", "STS has no path but /");
  }
  if (request.method !== "GET" && request.method !== "POST") {
    throw new Refusal(405, "MethodNotAllowed", "STS takes GET and POST");
  }
  return {
    method: request.method,
    path: "/",
    query,
    headers: [...request.headers],
    body: await readBody(request),
  };
}

async function readBody({ body }: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) {
      throw new Refusal(
        413,
        "RequestEntityTooLarge",
        `Request exceeded the maximum of ${MAX_BODY_BYTES} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
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

function readAction(
  parameters: URLSearchParams,
  actions: ReadonlyMap<string, unknown>,
): string {
  const name = parameters.get("Action");
  if (name === null) {
    throw new Refusal(400, "MissingAction", "The request is missing an action");
  }
  const version = parameters.get("Version");
  if (version === VERSION && actions.has(name)) return name;
  throw new Refusal(
    400,
    "InvalidAction",
    `Could not find operation ${name} for version ${
      version ?? "NO_VERSION_SPECIFIED"
    }`,
  );
}

function refuse(requestId: string, error: unknown): Response {
  const { status, code, message } = error instanceof Refusal
    ? error
    : new Refusal(500, "InternalFailure", "The simulator failed");
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
