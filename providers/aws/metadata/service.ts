/**
 * The instance metadata service of AWS: what a client is answered, and what is
 * told of it. Who the client is was found out by the proxy; which role it has,
 * by `access.ts`.
 *
 * @module
 */

import { type ContainerFacts, shortId } from "$core/container.ts";
import type {
  MetadataClient,
  MetadataEvent,
  MetadataHandler,
  MetadataOptions,
  MetadataRequest,
  MetadataService,
} from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import type { Answer } from "$core/provider.ts";
import type { SessionEngine } from "../engine.ts";
import { readBindingSettings } from "../settings.ts";
import type { VendRecorders } from "../vend.ts";
import { Accesses } from "./access.ts";
import {
  AWS_SHAPES,
  type Content,
  contentAnswer,
  GO_SHAPES,
  type Shapes,
} from "./answers.ts";
import { MAX_OFFSET_MS, readCacheOffset } from "./cache_offset.ts";
import { ContainerRoles } from "./container_role.ts";
import { type ClientAccess, Contents } from "./contents.ts";
import {
  createPassthrough,
  type Fetch,
  type PassthroughTime,
} from "./passthrough.ts";
import { iamEndpoint } from "./iam_endpoint.ts";
import { labelOf, parsePath, type Resource } from "./paths.ts";
import {
  BAD_TOKEN,
  BAD_TTL,
  BODY_REFUSED,
  NOT_FOUND,
  ONLY_GET,
  ONLY_PUT,
  Refusal,
  refusalAnswer,
  SEVERAL_TOKENS,
  toRefusal,
  VERSION_1,
} from "./refusal.ts";
import {
  type LiveToken,
  MAX_TOKENS,
  readTtl,
  SessionTokens,
} from "./tokens.ts";

const TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER = "x-aws-ec2-metadata-token";

/** What {@link createMetadata} needs besides what it is told. */
export interface MetadataParts {
  /** Clock, environment, log, audit. */
  readonly platform: Platform;
  /** Makes sessions. */
  readonly engine: Pick<SessionEngine, "sessions" | "end" | "findRole">;
  /** Keeps account of them. */
  readonly vends: Pick<VendRecorders, "recorder" | "end" | "endContainer">;
  /** Finds roles. Default: as the settings say. */
  readonly roles?: Pick<ContainerRoles, "find">;
  /** In ms, by a clock that nobody sets. Default: `performance.now`. */
  readonly elapsed?: () => number;
  /** This host's architecture. Default: Deno's. */
  readonly arch?: string;
}

/**
 * Makes the instance metadata service.
 *
 * @param parts What it is made of.
 * @param options What containers may have, and how it answers.
 * @returns The service.
 * @throws {MoatError} `usage`, `bad-config` or `bad-environment` for settings
 * that it cannot use.
 */
export function createMetadata(
  parts: MetadataParts,
  options: MetadataOptions,
): MetadataService {
  return new AwsMetadata(parts, options);
}

/** The original kept such sessions for ever, and served them when they had ended. */
function cacheOffset({ env, log }: Pick<Platform, "env" | "log">): number {
  const offsetMs = readCacheOffset(env["ROLE_CACHE_OFFSET"]);
  if (offsetMs <= MAX_OFFSET_MS) return offsetMs;
  log.warn("cache-offset-too-long", {
    reason:
      "ROLE_CACHE_OFFSET is more than half of a session's life, which is used in its place",
  });
  return MAX_OFFSET_MS;
}

/** A client, as long as it is current. */
interface ClientState extends ClientAccess {
  readonly tokens: SessionTokens;
  /** What the log says of it. */
  readonly told: Set<string>;
}

/** What a request adds to its event. */
interface Told {
  state?: ClientState;
  passthroughMs?: PassthroughTime;
}

/** Answers, each time. */
type Respond = (told: Told) => Answer | Promise<Answer>;

/** Gives the content of an answer, each time. */
type Read = (told: Told) => Content | Promise<Content>;

class AwsMetadata implements MetadataService {
  readonly #parts: MetadataParts;
  readonly #options: MetadataOptions;
  readonly #isCompatible: boolean;
  readonly #shapes: Shapes;
  readonly #contents: Contents;
  readonly #passthrough: (path: string) => Fetch | undefined;
  readonly #states = new WeakMap<MetadataClient, ClientState>();

  constructor(parts: MetadataParts, options: MetadataOptions) {
    const { settings, isCompatible = false } = options;
    const { platform: { env, clock } } = parts;
    // Roles without an account are looked up; a container is told too late.
    if (settings.defaultAccount === undefined) iamEndpoint(env);
    this.#parts = parts;
    this.#options = options;
    this.#isCompatible = isCompatible;
    this.#shapes = isCompatible ? GO_SHAPES : AWS_SHAPES;
    const accesses = new Accesses({
      ...parts,
      roles: parts.roles ??
        new ContainerRoles({ ...parts, settings, isCompatible }),
      ...(isCompatible && {
        offsetMs: cacheOffset(parts.platform),
      }),
    });
    this.#contents = new Contents({
      clock,
      accesses,
      shapes: this.#shapes,
      arch: parts.arch ?? Deno.build.arch,
    });
    const { passthrough: paths } = settings;
    const { ownUrls = [] } = options;
    this.#passthrough = createPassthrough({ paths, ownUrls, env, clock });
  }

  prepare(request: MetadataRequest): MetadataHandler {
    const { client, target } = request;
    const { version, resource } = parsePath(target, this.#isCompatible);
    const about = {
      resource: labelOf(resource),
      version,
      ...("isCurrent" in client && { container: client.container }),
    };
    const respond = this.#respond(request, resource);
    const tell = (told: Told, answer: Answer, error?: string) => {
      this.#observe(about, told, answer, error);
      return answer;
    };
    const refuse = (told: Told, error: unknown) => {
      const refusal = toRefusal(error);
      const answer = refusalAnswer(refusal, this.#isCompatible);
      return tell(told, answer, refusal.reason);
    };
    return () => {
      const told: Told = {};
      try {
        const answer = respond(told);
        if (!(answer instanceof Promise)) return tell(told, answer);
        return answer.then(
          (answer) => tell(told, answer),
          (error) => refuse(told, error),
        );
      } catch (error) {
        return refuse(told, error);
      }
    };
  }

  #observe(
    about: Pick<MetadataEvent, "resource" | "version" | "container">,
    { state, passthroughMs }: Told,
    { status }: Answer,
    error: string | undefined,
  ): void {
    const role = state?.access?.role.name;
    this.#options.observe?.({
      ...about,
      status,
      ...(error !== undefined && { error }),
      ...(role !== undefined && { role }),
      ...(passthroughMs && { passthroughMs }),
    });
  }

  #respond(
    request: MetadataRequest,
    resource: Resource | undefined,
  ): Respond {
    try {
      return this.#plan(request, resource);
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }

  /** What can be checked once is; what may change later is checked each time. */
  #plan(request: MetadataRequest, resource: Resource | undefined): Respond {
    const { client, target, method } = request;
    if (!("isCurrent" in client)) {
      const { status, code, message } = client;
      throw new Refusal(status, code, message, "could_not_find_container");
    }
    const wanted = this.#passthrough(target) ?? resource;
    if (!wanted) throw NOT_FOUND;
    const isToken = typeof wanted !== "function" && wanted.kind === "token";
    if (method !== (isToken ? "PUT" : "GET")) {
      throw isToken ? ONLY_PUT : ONLY_GET;
    }
    if (request.hasBody) throw BODY_REFUSED;
    const state = this.#stateOf(client);
    if (isToken) return this.#mint(request, client, state);
    const token = this.#checkToken(request, client, state);
    const read: Read = typeof wanted === "function"
      ? (told) => wanted(told.passthroughMs = { connect: 0, total: 0 })
      : this.#contents.say(client, state, wanted);
    return this.#repeatable(read, state, token);
  }

  #stateOf(client: MetadataClient): ClientState {
    let state = this.#states.get(client);
    if (!state) {
      const { platform: { clock }, elapsed } = this.#parts;
      const tokens = new SessionTokens({ clock, ...(elapsed && { elapsed }) });
      this.#states.set(client, state = { tokens, told: new Set() });
    }
    return state;
  }

  #mint(
    request: MetadataRequest,
    client: MetadataClient,
    state: ClientState,
  ): Respond {
    const ttl = readTtl(request.values(TTL_HEADER.toLowerCase()));
    if (ttl === undefined) throw BAD_TTL;
    return (told) => {
      told.state = state;
      this.#contents.prefetch(client, state);
      const token = this.#shapes.text(state.tokens.mint(ttl));
      if (state.tokens.hasPushedOut) this.#tellFlood(client.container, state);
      return contentAnswer(token, [[TTL_HEADER, String(ttl)]]);
    };
  }

  /** Undefined for version 1, if that is allowed. */
  #checkToken(
    request: MetadataRequest,
    { binding, container }: MetadataClient,
    state: ClientState,
  ): LiveToken | undefined {
    const [shown, ...more] = request.values(TOKEN_HEADER);
    if (more.length > 0) throw SEVERAL_TOKENS;
    if (shown === undefined) {
      const { v1 } = readBindingSettings(binding?.settings?.["aws"]);
      if (v1 || this.#options.settings.v1) return undefined;
      this.#tellVersion1(container, state);
      throw VERSION_1;
    }
    const token = state.tokens.find(shown);
    if (!token) throw BAD_TOKEN;
    return token;
  }

  /** Nobody would look for it in a 403. */
  #tellVersion1(container: ContainerFacts, state: ClientState): void {
    this.#tellOnce("version-1-refused", container, state, {
      hint:
        "write v1 = true below [metadata] in moat.toml and start moat again; of a binding, --imds-v1 says it",
    });
  }

  #tellFlood(container: ContainerFacts, state: ClientState): void {
    this.#tellOnce("many-tokens", container, state, {
      reason:
        `it keeps fetching session tokens: of more than ${MAX_TOKENS} the oldest end`,
    });
  }

  /** Clients that ask again and again must not fill the log. */
  #tellOnce(
    event: string,
    container: ContainerFacts,
    { told }: ClientState,
    fields: Readonly<Record<string, string>>,
  ): void {
    if (told.has(event)) return;
    told.add(event);
    this.#parts.platform.log.warn(event, {
      container: container.name,
      id: shortId(container),
      ...fields,
    });
  }

  /** The same answer as long as it says the same, for the server keeps its bytes. */
  #repeatable(
    read: Read,
    state: ClientState,
    token: LiveToken | undefined,
  ): Respond {
    let last:
      | { content: Content; left: number | undefined; answer: Answer }
      | undefined;
    const answer = (content: Content, left: number | undefined) => {
      if (last?.content !== content || last.left !== left) {
        const headers = left === undefined
          ? []
          : [[TTL_HEADER, String(left)] as const];
        last = { content, left, answer: contentAnswer(content, headers) };
      }
      return last.answer;
    };
    return (told) => {
      told.state = state;
      const left = token?.secondsLeft();
      if (left === 0) throw BAD_TOKEN;
      const content = read(told);
      return content instanceof Promise
        ? content.then((content) => answer(content, left))
        : answer(content, left);
    };
  }
}
