/**
 * The front of an instance metadata service: which container asks, and what it
 * was given. What it is answered is the provider's.
 *
 * A client is known by its address alone, so the container is found once for
 * each connection, which cannot pass from one container to another, and its
 * engine is asked each time (see `../containers/watch.ts`).
 *
 * @module
 */

import { isIP } from "node:net";
import { RUN_LABEL } from "$core/container.ts";
import { toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type {
  MetadataClient,
  MetadataService,
  MetadataStranger,
} from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import { type Answer, errorAnswer } from "$core/provider.ts";
import { isLoopback, unmapAddress } from "../addresses.ts";
import type { BindingTable } from "../bindings/binding_table.ts";
import { Connections, type Unproven } from "../containers/connections.ts";
import type { Containers, KnownContainer } from "../containers/containers.ts";
import { isForeign } from "../http1/foreign_fields.ts";
import { hasBody, type RequestHead } from "../http1/head.ts";
import type { Peer, Reply } from "../http1/server.ts";
import { RepeatedLines } from "../repeated_lines.ts";
import { FoundClient } from "./found_client.ts";

/** What a front is made of. */
export interface MetadataFrontOptions {
  /** Clock, log, metrics. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics">;
  /** Who has which address. */
  readonly containers: Pick<Containers, "identify">;
  /** What answers. */
  readonly service: MetadataService;
  /** Bindings whose containers need no token. Default: there are none. */
  readonly bindings?: Pick<BindingTable, "ofContainer">;
  /** Whether a grant is one that the service can serve. */
  readonly serves: (grant: Grant) => boolean;
  /** The grant of containers that have no binding; undefined without one. */
  readonly grant: () => Promise<Grant | undefined>;
}

/** Whoever is not served, and what the log says besides. */
interface Refused extends MetadataStranger {
  /** What a person can do. */
  readonly hint?: string;
  /** The container's name, if it is known. */
  readonly container?: string;
}

const UNKNOWN = [
  403,
  "unknown-client",
  "name its engine's socket by DOCKER_HOST, or by engines in [metadata] of moat.toml",
] as const;

const BY_TOKEN =
  "give it a binding with a token: moat bind NAME --grant GRANT --mode process";

const ENGINE_LOST =
  "engine-lost in this log says why; without that line the engine is slow";

/** How each is told, and what helps. */
const STRANGERS: Readonly<
  Record<Unproven, readonly [status: number, code: string, hint: string]>
> = {
  "unknown": UNKNOWN,
  "shared": [403, "shared-address", BY_TOKEN],
  "host": [403, "host-client", BY_TOKEN],
  "no-address": UNKNOWN,
  "stopped": UNKNOWN,
  "engine-unavailable": [503, "engine-unavailable", ENGINE_LOST],
};

const BAD_TARGET: MetadataStranger = {
  status: 400,
  code: "bad-target",
  message: "Wanted a path, found a whole URL or a host",
};

/** A page in a browser can have any name point here, but no address. */
const FOREIGN_HOST: MetadataStranger = {
  status: 403,
  code: "foreign-host",
  message: "The Host header names no address, but the service has no name",
};

const FOREIGN_REQUEST: MetadataStranger = {
  status: 403,
  code: "foreign-request",
  message: "Requests of browsers and forwarding proxies are refused",
};

const SEVERAL_BINDINGS: Refused = {
  status: 403,
  code: "ambiguous-binding",
  message: "Several bindings are for this container",
  hint: "moat bindings shows them; moat unbind all but one",
};

const RUN_ENDED: Refused = {
  status: 403,
  code: "run-ended",
  message: "The run of this container has ended, or its proxy was restarted",
  hint: "start it again with moat run",
};

const GRANT_GONE: Refused = {
  status: 403,
  code: "grant-gone",
  message: "The grant that serves this container was revoked, or is missing",
  hint: "moat grant list shows those there are; grant it again, or moat unbind",
};

const GRANT_UNREADABLE: Refused = {
  status: 503,
  code: "grant-unreadable",
  message: "The grant that serves this container cannot be read",
};

const CHANGED = errorAnswer(
  503,
  "client-changed",
  "What this container may have changed while its answer was made",
);

/** From a connection to its answers. */
export class MetadataFront {
  readonly #options: MetadataFrontOptions;
  readonly #told: RepeatedLines;
  readonly #connections: Connections;
  /** Of each container, as long as its binding and grant are the same. */
  readonly #clients = new WeakMap<KnownContainer, Promise<FoundClient>>();
  readonly #current = new Set<FoundClient>();
  /** How often bindings or grants changed: what was read before is out of date. */
  #changes = 0;

  /** Serves containers. */
  constructor(options: MetadataFrontOptions) {
    this.#options = options;
    this.#connections = new Connections(() =>
      Promise.resolve(options.containers)
    );
    this.#told = new RepeatedLines(options.platform.clock);
  }

  /** Answers a request of a listener. */
  handle(head: RequestHead, peer: Peer): Reply | Promise<Reply> {
    const refusal = checkRequest(head, peer);
    if (refusal) return this.#answer(head, refusal, peer);
    const known = this.#connections.current(peer);
    const found = known ? this.#clientOf(known) : this.#identify(peer);
    return found.then((client) => this.#answer(head, client, peer));
  }

  /** Makes changed bindings and grants count at once: clients are looked for anew. */
  changed(): void {
    this.#changes++;
    for (const client of [...this.#current]) client.end();
  }

  async #answer(
    head: RequestHead,
    client: MetadataClient | Refused,
    peer: Peer,
  ): Promise<Reply> {
    if (!("isCurrent" in client)) this.#tell(client, peer);
    const handler = this.#options.service.prepare({
      method: head.method,
      target: head.target,
      hasBody: hasBody(head),
      values: (name) => head.values(name),
      client,
    });
    if (!("isCurrent" in client)) return { answer: await handler() };
    // What was made for a client that ended meanwhile is nobody's; SDKs ask again.
    const whileCurrent = (answer: Answer) =>
      client.isCurrent ? answer : CHANGED;
    const repeat = () => {
      if (!client.isCurrent) return undefined;
      const answer = handler();
      return answer instanceof Promise ? answer.then(whileCurrent) : answer;
    };
    const answer = whileCurrent(await handler());
    return { answer, repeat, isKnown: true };
  }

  async #identify(peer: Peer): Promise<MetadataClient | Refused> {
    const found = await this.#connections.identify(peer);
    if (!("problem" in found)) return await this.#clientOf(found);
    const [status, code, hint] = STRANGERS[found.problem];
    return { status, code, message: found.message, hint };
  }

  /** One for all connections of a container; a failure is nobody's. */
  async #clientOf(
    known: KnownContainer,
  ): Promise<MetadataClient | Refused> {
    const before = this.#clients.get(known);
    const client = await before?.catch(() => undefined);
    if (client?.isCurrent) return client;
    const now = this.#clients.get(known);
    if (now && now !== before) return await this.#clientOf(known);
    const found = this.#find(known);
    this.#clients.set(known, found);
    return await found.catch((error) => {
      if (this.#clients.get(known) === found) this.#clients.delete(known);
      const container = known.facts.name;
      if (error instanceof NoClient) return { ...error.refused, container };
      const { code, message } = toMoatError(error);
      return { status: 503, code, message, container };
    });
  }

  async #find(known: KnownContainer): Promise<FoundClient> {
    const { bindings, serves } = this.#options;
    for (;;) {
      const changes = this.#changes;
      const bound = await bindings?.ofContainer(known.facts) ?? [];
      const [live, second] = bound;
      if (second) throw new NoClient(SEVERAL_BINDINGS);
      // It was given one grant, and no other right takes its place.
      if (!live && Object.hasOwn(known.facts.labels, RUN_LABEL)) {
        throw new NoClient(RUN_ENDED);
      }
      const grant = live
        ? live.served.grants.find(serves)
        : await this.#grant();
      if (changes !== this.#changes) continue;
      if (live && !grant) throw new NoClient(GRANT_GONE);
      const client = new FoundClient(known, { live, grant });
      this.#current.add(client);
      client.onEnd(() => this.#current.delete(client));
      return client;
    }
  }

  /** What is wrong with it is for the log, not for containers. */
  async #grant(): Promise<Grant | undefined> {
    try {
      return await this.#options.grant();
    } catch (error) {
      const { code, message, hint } = toMoatError(error);
      const { log } = this.#options.platform;
      if (!this.#told.isRepeated(code)) {
        log.warn("metadata-grant-unusable", { code, message, hint });
      }
      throw new NoClient(
        code === "grant-not-found" ? GRANT_GONE : GRANT_UNREADABLE,
      );
    }
  }

  /** Clients that ask again and again must not fill the log. */
  #tell({ code, message, hint, container }: Refused, peer: Peer): void {
    const { log, metrics } = this.#options.platform;
    metrics.count("metadata_refused_total", { code });
    const address = unmapAddress(peer.remoteHostname);
    if (this.#told.isRepeated(`${address} ${code}`)) return;
    log.warn("metadata-refused", {
      address,
      ...(container !== undefined && { container }),
      ...{ code, reason: message },
      ...(hint !== undefined && { hint }),
    });
  }
}

/** Why a container has no client. */
class NoClient extends Error {
  constructor(readonly refused: Refused) {
    super(refused.message);
  }
}

function checkRequest(
  head: RequestHead,
  peer: Peer,
): MetadataStranger | undefined {
  if (!head.target.startsWith("/")) return BAD_TARGET;
  if (!isOurHost(head.host, peer)) return FOREIGN_HOST;
  return isForeign(head) ? FOREIGN_REQUEST : undefined;
}

/** Whichever: on the way here it may have been translated. */
function isOurHost(host: string, peer: Peer): boolean {
  const name = /^(?:\[([^\]]+)\]|([^:]+))(?::\d*)?$/.exec(host)?.slice(1)
    .find((part) => part !== undefined) ?? "";
  if (isIP(name) > 0) return true;
  const isLocal = isLoopback(unmapAddress(peer.localHostname));
  return isLocal && name.toLowerCase() === "localhost";
}
