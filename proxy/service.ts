/**
 * From a request to its answer: hygiene, then who asks, then what is served.
 * Nothing about a credential is looked at before the client is known.
 *
 * @module
 */

import { Answer, errorAnswer } from "$core/provider.ts";
import {
  ENGINE_HOSTS,
  isLoopback,
  PROXY_NAME,
  unmapAddress,
} from "./addresses.ts";
import type { BindingTable, LiveBinding } from "./bindings.ts";
import { hasBody, type RequestHead } from "./http1/head.ts";
import type { Peer, Reply, Service } from "./http1/server.ts";

/**
 * Names by which containers reach the host: ours, Docker's and podman's. A
 * page in a browser cannot have them as its own (DNS rebinding).
 */
const HOST_NAMES: readonly string[] = [
  PROXY_NAME,
  ...Object.values(ENGINE_HOSTS),
];

/** What an SDK never sends, but a browser or a forwarding proxy does. */
const FOREIGN_FIELDS = [
  "cookie",
  "forwarded",
  "origin",
  "referer",
  "true-client-ip",
  "via",
  "x-client-ip",
  "x-original-url",
  "x-real-ip",
  "x-rewrite-url",
];

/** The beginnings of further such fields. */
const FOREIGN_PREFIXES = ["sec-fetch-", "x-forwarded-"];

const HEALTH_PATH = "/healthz";

const HEALTHY = new Answer(200, "ok\n", "text/plain");
const UNAUTHORIZED = errorAnswer(
  401,
  "unauthorized",
  "Wanted a known bearer token in the Authorization header",
  [["WWW-Authenticate", "Bearer"]],
);
const TWO_TOKENS = errorAnswer(
  400,
  "ambiguous-token",
  "Wanted one token in one Authorization header, found more",
);
const BAD_TARGET = errorAnswer(
  400,
  "bad-target",
  "Wanted a path in its plain spelling, such as /healthz",
);
const BODY_REFUSED = errorAnswer(
  400,
  "body-refused",
  "Wanted a request without a body",
);
const FOREIGN_HOST = errorAnswer(
  403,
  "foreign-host",
  "The Host header names another host or port than this one",
);
const FOREIGN_REQUEST = errorAnswer(
  403,
  "foreign-request",
  "Requests of browsers and forwarding proxies are refused",
);
/** There is nothing at this path. */
export const NOT_FOUND: Answer = errorAnswer(
  404,
  "not-found",
  "Nothing is served here",
);
/** The path takes no other method than GET. */
export const NOT_ALLOWED: Answer = errorAnswer(
  405,
  "method-not-allowed",
  "Only GET is served here",
  [["Allow", "GET"]],
);

/**
 * Makes the service of the credential listeners.
 *
 * @param bindings The live bindings.
 * @returns What `serve` calls for each request.
 */
export function createService(bindings: BindingTable): Service {
  const service: Service = (head, peer) => {
    const refusal = checkHygiene(head, peer);
    if (refusal) return { answer: refusal };
    if (head.target === HEALTH_PATH) {
      return head.method === "GET"
        ? { answer: HEALTHY, repeat: () => HEALTHY }
        : { answer: NOT_ALLOWED };
    }
    const client = identify(head, peer, bindings);
    if (client instanceof Answer) return { answer: client };
    return route(head, client, async () => await service(head, peer));
  };
  return service;
}

/**
 * Refuses what no SDK sends, whoever asks.
 *
 * @param head The request.
 * @param peer Where it came from and arrived.
 * @returns The refusal, if it is one.
 */
export function checkHygiene(
  head: RequestHead,
  peer: Peer,
): Answer | undefined {
  if (!isPlainTarget(head.target)) return BAD_TARGET;
  if (!isOurHost(head.host, peer)) return FOREIGN_HOST;
  for (const [name] of head.headers) {
    const field = name.toLowerCase();
    if (
      FOREIGN_FIELDS.includes(field) ||
      FOREIGN_PREFIXES.some((prefix) => field.startsWith(prefix))
    ) return FOREIGN_REQUEST;
  }
  return head.method === "GET" && hasBody(head) ? BODY_REFUSED : undefined;
}

/**
 * Origin form, and one spelling of each path: no escapes, no dot segments, no
 * empty segments. A query is let through to authentication and then not found.
 */
function isPlainTarget(target: string): boolean {
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  return /^(?:\/[\w.~-]+)*\/?$/.test(path) && path.startsWith("/") &&
    !/\/\.\.?(?:\/|$)/.test(path);
}

/**
 * The address that the client connected to, or a name of ours; and our port,
 * which some clients leave out.
 */
function isOurHost(host: string, peer: Peer): boolean {
  const match = /^(?:\[([0-9a-f.]*:[0-9a-f:.]*)\]|([^:[\]]+))(?::(\d*))?$/
    .exec(host.toLowerCase());
  const [, six, four, port = peer.localPort] = match ?? [];
  const name = six ?? four ?? "";
  if (!match || Number(port) !== peer.localPort) return false;
  const address = unmapAddress(peer.localHostname);
  if (HOST_NAMES.includes(name) || name === address) return true;
  return name === "localhost" && isLoopback(address);
}

/**
 * Finds the binding, or the answer for a client that is not known: neither is
 * one that asks at an address where its run is not reached.
 */
function identify(
  head: RequestHead,
  peer: Peer,
  bindings: BindingTable,
): LiveBinding | Answer {
  const values = head.values("authorization");
  const hasQueryToken = /[?&]access_token=/.test(head.target);
  // Two fields that something on the way has joined are two tokens, too.
  const tokens = values.flatMap((value) => value.split(","));
  if (tokens.length + (hasQueryToken ? 1 : 0) > 1) return TWO_TOKENS;
  const match = /^bearer +([\w.~+/=-]+)$/i.exec(tokens[0] ?? "");
  const live = bindings.find(match?.[1] ?? "");
  return live?.admits(unmapAddress(peer.localHostname)) ? live : UNAUTHORIZED;
}

function route(
  head: RequestHead,
  client: LiveBinding,
  askAnew: () => Promise<Reply>,
): Reply | Promise<Reply> {
  const handler = client.routes.get(head.target);
  if (!handler) return { answer: NOT_FOUND };
  if (head.method !== "GET") return { answer: NOT_ALLOWED };
  const request = { binding: client.binding };
  // A client that was revoked while its answer was made must not get it; one
  // whose grant only changed gets what it may have now.
  const whileLive = async (answer: Answer) =>
    client.isLive ? answer : (await askAnew()).answer;
  const repeat = () => {
    if (!client.isLive) return undefined;
    const answer = handler(request);
    return answer instanceof Promise ? answer.then(whileLive) : answer;
  };
  const answer = handler(request);
  if (!(answer instanceof Promise)) {
    return { answer, repeat, isKnown: true };
  }
  return answer.then(async (made) => ({
    answer: await whileLive(made),
    repeat,
    isKnown: true,
  }));
}
