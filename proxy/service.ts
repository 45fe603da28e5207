/**
 * From a request to its answer: hygiene, then who asks, then what is served.
 * Nothing about a credential is looked at before the client is known.
 *
 * @module
 */

import type { Access } from "$core/binding.ts";
import { Answer, errorAnswer } from "$core/provider.ts";
import {
  ENGINE_HOSTS,
  isLoopback,
  PROXY_NAME,
  unmapAddress,
} from "./addresses.ts";
import { NOT_ALLOWED, NOT_FOUND, UNAUTHORIZED } from "./answers.ts";
import type { BindingTable, LiveBinding } from "./bindings/binding_table.ts";
import { CLOSED_GATE, type Gate } from "./bindings/container_gate.ts";
import { isForeign } from "./http1/foreign_fields.ts";
import { hasBody, type RequestHead } from "./http1/head.ts";
import type { Peer, Reply, Service, Takeover } from "./http1/server.ts";

/**
 * Names by which containers reach the host: ours, Docker's and podman's. A
 * page in a browser cannot have them as its own (DNS rebinding).
 */
const HOST_NAMES: readonly string[] = [
  PROXY_NAME,
  ...Object.values(ENGINE_HOSTS),
];

const HEALTH_PATH = "/healthz";

const HEALTHY = new Answer(200, "ok\n", "text/plain");
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
/** What another program's clients expect instead of our own ways. */
export interface Dialect {
  /** All paths that there are: others, and other methods, are refused before a token is looked at. */
  readonly paths?: readonly string[];
  /** Methods that are served. */
  readonly methods: readonly string[];
  /** The method is none of these. */
  readonly notAllowed: Answer;
  /** What an Authorization header with a token looks like; the token is its group. */
  readonly authorization: RegExp;
  /** No token was shown, or nothing that could be one. */
  readonly noToken: Answer;
  /** The token does not count. */
  readonly unauthorized: Answer;
  /** Changes the answer of an endpoint that waited for it. */
  readonly failed: (answer: Answer) => Answer;
}

const OWN_DIALECT: Dialect = {
  methods: ["GET"],
  notAllowed: NOT_ALLOWED,
  authorization: /^bearer +([\w.~+/=@-]+)$/i,
  noToken: UNAUTHORIZED,
  unauthorized: UNAUTHORIZED,
  failed: (answer) => answer,
};

/** Serves the requests that are for somebody else. */
export type Forward = (
  head: RequestHead,
  peer: Peer,
) => Reply | Takeover | Promise<Reply | Takeover>;

/**
 * Sends the requests that are for somebody else another way.
 *
 * @param endpoints Our own service.
 * @param forward The forward proxy.
 * @returns A service of both.
 */
export function withForward(endpoints: Service, forward: Forward): Service {
  return (head, peer) =>
    isForOthers(head) ? forward(head, peer) : endpoints(head, peer);
}

/** Whether a proxy is meant, and no endpoint (RFC 9112 sections 3.2.2 and 3.2.3). */
function isForOthers({ method, target }: RequestHead): boolean {
  return method === "CONNECT" || !/^[/*]/.test(target);
}

/**
 * Makes the service of the credential endpoints.
 *
 * @param bindings The live bindings.
 * @param dialect Default: our own answers.
 * @param gate Who may use the bindings of single containers. Default: nobody.
 * @returns What `serve` calls for each request.
 */
export function createService(
  bindings: BindingTable,
  dialect: Dialect = OWN_DIALECT,
  gate: Gate = CLOSED_GATE,
): (head: RequestHead, peer: Peer) => Reply | Promise<Reply> {
  const service = (head: RequestHead, peer: Peer): Reply | Promise<Reply> => {
    const refusal = checkHygiene(head, peer);
    if (refusal) return { answer: refusal };
    if (head.target === HEALTH_PATH) {
      return dialect.methods.includes(head.method)
        ? { answer: HEALTHY, repeat: () => HEALTHY }
        : { answer: dialect.notAllowed };
    }
    const wrong = dialect.paths && checkRoute(head, dialect.paths, dialect);
    if (wrong) return { answer: wrong };
    const shown = findToken(head, dialect);
    if (shown instanceof Answer) return { answer: shown };
    if (!shown) return { answer: dialect.noToken };
    const { path } = shown;
    const askAnew = async () => await service(head, peer);
    const serve = (live: LiveBinding) => {
      const counts = () => live.isLive && gate.holds(live, peer);
      return route(head, path, { live, counts, askAnew }, dialect);
    };
    const refuse = () => ({ answer: dialect.unauthorized });
    const answer = (live: LiveBinding | undefined) => {
      if (!isAdmitted(live, shown, peer)) return refuse();
      const proven = gate.admits(live, peer);
      if (!(proven instanceof Promise)) return proven ? serve(live) : refuse();
      // It may have changed while its client was identified.
      return proven.then((isProven) => {
        if (!isProven) return refuse();
        return live.isLive ? serve(live) : askAnew();
      });
    };
    const found = bindings.find(shown.token);
    return found instanceof Promise ? found.then(answer) : answer(found);
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
  if (isForeign(head)) return FOREIGN_REQUEST;
  return head.method === "GET" && hasBody(head) ? BODY_REFUSED : undefined;
}

/**
 * Origin form, and one spelling of each path: no escapes, no dot segments, no
 * empty segments. A query is let through to authentication.
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
  // A relay's port is its own, and only its client can reach it.
  if (peer.localHostname.startsWith("/")) {
    return /^(127\.0\.0\.1|localhost)(:\d+)?$/i.test(host);
  }
  const match = /^(?:\[([0-9a-f.]*:[0-9a-f:.]*)\]|([^:[\]]+))(?::(\d*))?$/
    .exec(host.toLowerCase());
  const [, six, four, port = peer.localPort] = match ?? [];
  const name = six ?? four ?? "";
  if (!match || Number(port) !== peer.localPort) return false;
  const address = unmapAddress(peer.localHostname);
  if (HOST_NAMES.includes(name) || name === address) return true;
  return name === "localhost" && isLoopback(address);
}

function checkRoute(
  { target, method }: RequestHead,
  paths: readonly string[],
  { methods, notAllowed }: Dialect,
): Answer | undefined {
  if (!paths.includes(target.split("?")[0] ?? "")) return NOT_FOUND;
  return methods.includes(method) ? undefined : notAllowed;
}

/** A token as it was shown, and the path that it was shown for. */
interface Shown {
  readonly token: string;
  readonly access: Access;
  readonly path: string;
}

/** What query modes send; in a form, as its name says. */
const QUERY_TOKEN = "access_token";

/** Finds the token, or the answer for a client that shows several. */
function findToken(
  head: RequestHead,
  { authorization }: Dialect,
): Shown | Answer | undefined {
  const { target } = head;
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  const query = at < 0 ? [] : target.slice(at + 1).split("&");
  const inQuery = query.filter((pair) => pair.startsWith(`${QUERY_TOKEN}=`));
  // Two fields that something on the way has joined are two tokens, too.
  const inHeader = head.values("authorization")
    .flatMap((value) => value.split(","));
  if (inHeader.length + inQuery.length > 1) return TWO_TOKENS;
  const match = authorization.exec(inHeader[0] ?? "");
  if (match) return { token: match[1] ?? "", access: "header", path: target };
  if (inQuery[0] === undefined || inHeader.length > 0) return undefined;
  // With anything beside it there is nothing at this path.
  return {
    token: inQuery[0].slice(QUERY_TOKEN.length + 1).replaceAll("%40", "@"),
    access: "query",
    path: query.length === 1 ? path : target,
  };
}

/**
 * Whether the client may ask: not one that asks at an address where its
 * binding is not reached, or shows its token where others may see it.
 */
function isAdmitted(
  live: LiveBinding | undefined,
  { access }: Shown,
  peer: Peer,
): live is LiveBinding {
  return live !== undefined && live.entry.access === access &&
    live.entry.admits(unmapAddress(peer.localHostname));
}

/** A client that has proven who it is. */
interface KnownClient {
  readonly live: LiveBinding;
  /** Whether that still counts. */
  readonly counts: () => boolean;
  /** Answers its request as if it were a new one. */
  readonly askAnew: () => Promise<Reply>;
}

function route(
  head: RequestHead,
  path: string,
  { live, counts, askAnew }: KnownClient,
  { failed, methods, notAllowed }: Dialect,
): Reply | Promise<Reply> {
  const { routes, otherwise } = live.served;
  const handler = routes.get(path);
  if (!handler) return { answer: otherwise };
  if (!methods.includes(head.method)) return { answer: notAllowed };
  const request = { binding: live.binding };
  // A client that was revoked while its answer was made must not get it; one
  // whose grant only changed gets what it may have now.
  const whileLive = async (answer: Answer) =>
    counts() ? failed(answer) : (await askAnew()).answer;
  const repeat = () => {
    if (!counts()) return undefined;
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
