/**
 * A container engine that only pretends: the part of the Docker API that moat
 * asks, at a real unix socket, with containers that a test makes up.
 *
 * @module
 */

import { join } from "node:path";

/** A made-up container. */
export interface FakeContainerOptions {
  /** Default: 64 digits that no other one has. */
  readonly id?: string;
  /** Default: the beginning of the id. */
  readonly name?: string;
  /** Its address; default: none. */
  readonly ip?: string;
  /** Its IPv6 address; default: none. */
  readonly ip6?: string;
  /** Its address in `docker_gwbridge`: puts it into a network of swarm. */
  readonly gatewayIp?: string;
  /** Default: empty. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: empty. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Default: `localhost/moat:1`. */
  readonly image?: string;
  /** Such as `host` or `container:ID`. Default: `bridge`. */
  readonly networkMode?: string;
  /** Default: true; false leaves it created. */
  readonly isStarted?: boolean;
  /** When it began to run, ms since the Unix epoch. Default: when it is told. */
  readonly begunAt?: number;
  /** Whether it is listed with its address when it ended, as some engines do. */
  readonly keepsAddress?: boolean;
}

/** A container as the engine keeps it. */
export interface FakeContainer extends FakeContainerOptions {
  readonly id: string;
  name: string;
  /** In Docker's words. */
  status: "created" | "running" | "paused" | "restarting" | "exited";
  startedAt: string;
  finishedAt: string;
  endpoint: string;
}

/** How a {@link FakeEngine} behaves. */
export interface FakeEngineOptions {
  /** Default: `engine.sock` in a directory of its own. */
  readonly socket?: string;
  /** Whose answers it imitates. Default: docker. */
  readonly kind?: "docker" | "podman";
  /** Its clock, ms since the Unix epoch. Default: the machine's. */
  readonly now?: () => number;
}

/** The network that all containers are in. */
const NETWORK = "b".repeat(64);

const NEVER = "0001-01-01T00:00:00Z";

const encoder = new TextEncoder();

/** A running engine; `await using` stops it. */
export class FakeEngine implements AsyncDisposable {
  /** Path of its socket. */
  readonly socket: string;
  /** `unix://` and its path. */
  readonly url: string;
  /** How often it was asked. */
  readonly asked = { list: 0, inspect: 0, events: 0, network: 0 };
  /** Set to answer so to the next inspections, lists or events, until it is undefined. */
  broken: { body: string; status?: number } | undefined;
  /** Awaited before each inspection is answered, but after its truth is taken. */
  delay: ((id: string) => Promise<void> | undefined) | undefined;
  /** Of these no inspection can be read. */
  readonly unreadable = new Set<string>();
  /** Answers for one container as for another, by id. */
  alias: Readonly<Record<string, string>> = {};
  /** What it calls itself. */
  server: string;
  /** Whether events are kept back, to be sent in order by {@link release}. */
  isSilent = false;
  readonly #directory: string | undefined;
  readonly #kind: "docker" | "podman";
  readonly #now: () => number;
  readonly #containers = new Map<string, FakeContainer>();
  readonly #streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  #held: Uint8Array[] = [];
  #last = 0;
  #server: Deno.HttpServer | undefined;
  #kill = new AbortController();

  private constructor(options: FakeEngineOptions, directory?: string) {
    this.#directory = directory;
    this.socket = options.socket ?? join(directory ?? "", "engine.sock");
    this.url = `unix://${this.socket}`;
    this.#kind = options.kind ?? "docker";
    this.#now = options.now ?? Date.now;
    this.server = this.#kind === "podman"
      ? "Libpod/4.3.1 (linux)"
      : "Docker/20.10.24 (linux)";
  }

  /** Starts an engine without containers. */
  static async start(options: FakeEngineOptions = {}): Promise<FakeEngine> {
    const directory = options.socket === undefined
      ? await Deno.makeTempDir({ prefix: "moat-engine-" })
      : undefined;
    const engine = new FakeEngine(options, directory);
    engine.#listen();
    return engine;
  }

  /** Stops it and removes its socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopEngine();
    if (this.#directory) {
      await Deno.remove(this.#directory, { recursive: true });
    }
  }

  /** Adds a container and, by default, starts it. */
  addContainer(options: FakeContainerOptions = {}): FakeContainer {
    const id = options.id ??
      (++this.#last).toString(16).padStart(12, "0").padEnd(64, "f");
    const container: FakeContainer = {
      ...options,
      id,
      name: options.name ?? id.slice(0, 12),
      status: "created",
      startedAt: NEVER,
      finishedAt: NEVER,
      endpoint: "",
    };
    this.#containers.set(id, container);
    this.event("create", container);
    if (options.isStarted !== false) this.start(id, options.begunAt);
    return container;
  }

  /** Starts it, anew if it ran before. */
  start(id: string, at: number = this.#now()): void {
    const container = this.#get(id);
    container.endpoint = this.#kind === "podman"
      ? ""
      : (++this.#last).toString(16).padStart(64, "e");
    if (this.#kind === "docker") this.#networkEvent("connect", container, at);
    else this.event("init", container, at);
    container.status = "running";
    container.startedAt = this.#instant(at);
    this.event("start", container, at);
  }

  /** Ends it; `isRemoved` as with `--rm`. */
  die(id: string, { isRemoved = false } = {}): void {
    const container = this.#get(id);
    container.status = "exited";
    container.finishedAt = this.#instant();
    this.event("die", container);
    if (this.#kind === "docker") this.#networkEvent("disconnect", container);
    if (!isRemoved) return;
    this.#containers.delete(id);
    this.event(this.#kind === "docker" ? "destroy" : "remove", container);
  }

  /** Pauses or resumes it. */
  pause(id: string, isPaused = true): void {
    const container = this.#get(id);
    container.status = isPaused ? "paused" : "running";
    this.event(isPaused ? "pause" : "unpause", container);
  }

  /** Gives it another name. */
  rename(id: string, name: string): void {
    const container = this.#get(id);
    container.name = name;
    this.event("rename", container);
  }

  /** Sends an event about a container, whatever is true. */
  event(
    action: string,
    { id, name }: Pick<FakeContainer, "id" | "name">,
    at: number = this.#now(),
  ): void {
    this.#send({
      status: action,
      id,
      Type: "container",
      Action: action,
      Actor: { ID: id, Attributes: { name } },
      timeNano: at * 1e6,
    });
  }

  /** Sends what is no event; or anything that is. */
  sendGarbage(text = "<html>\n"): void {
    this.#push(encoder.encode(text));
  }

  /** Sends the events that were kept back; they are sent at once from now on. */
  release(): void {
    this.isSilent = false;
    const held = this.#held;
    this.#held = [];
    for (const line of held) this.#push(line);
  }

  /** Ends all connections and listens anew, with the same containers. */
  async restartEngine(): Promise<void> {
    await this.stopEngine();
    this.#listen();
  }

  /** Ends all connections; {@link restartEngine} starts it again. */
  async stopEngine(): Promise<void> {
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
    this.#kill.abort();
    await this.#server?.finished;
    this.#server = undefined;
  }

  #listen(): void {
    this.#kill = new AbortController();
    this.#server = Deno.serve({
      path: this.socket,
      signal: this.#kill.signal,
      onListen() {},
    }, async (request) => {
      const response = await this.#answer(new URL(request.url));
      const { server } = this;
      if (server) response.headers.set("server", server);
      return response;
    });
  }

  /** An instant of the millisecond before; no two are the same. */
  #instant(at: number = this.#now()): string {
    return new Date(at - 1).toISOString()
      .replace("Z", `${String(++this.#last).padStart(6, "0")}Z`);
  }

  #get(id: string): FakeContainer {
    const container = this.#containers.get(id);
    if (!container) throw new Error(`no container ${id}`);
    return container;
  }

  async #answer(
    { pathname: path, searchParams }: URL,
  ): Promise<Response> {
    const id = /^\/containers\/([^/]+)\/json$/.exec(path)?.[1];
    const isList = path === "/containers/json";
    if (id) this.asked.inspect++;
    else if (isList) this.asked.list++;
    else if (path === "/events") this.asked.events++;
    else this.asked.network++;
    if (this.broken) {
      const { body, status = 200 } = this.broken;
      return new Response(body, { status });
    }
    if (id && this.unreadable.has(id)) return new Response("{}");
    if (path === "/events") return new Response(this.#stream());
    const body = JSON.stringify(
      id
        ? this.#inspected(this.alias[id] ?? id)
        : isList
        ? this.#listed(searchParams)
        : this.#gateways(),
    );
    if (id) await this.delay?.(id);
    return body === undefined
      ? Response.json({ message: "no such thing" }, { status: 404 })
      : new Response(body);
  }

  #stream(): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>;
    return new ReadableStream({
      start: (controller) => {
        own = controller;
        this.#streams.add(controller);
      },
      cancel: () => void this.#streams.delete(own),
    });
  }

  #networkEvent(
    action: string,
    { id }: FakeContainer,
    at: number = this.#now(),
  ): void {
    this.#send({
      Type: "network",
      Action: action,
      Actor: { ID: NETWORK, Attributes: { container: id, name: "bridge" } },
      timeNano: at * 1e6,
    });
  }

  #send(event: unknown): void {
    const line = encoder.encode(JSON.stringify(event) + "\n");
    if (this.isSilent) this.#held.push(line);
    else this.#push(line);
  }

  #push(bytes: Uint8Array): void {
    for (const stream of this.#streams) stream.enqueue(bytes);
  }

  #networks(container: FakeContainer): unknown {
    const runs = /^(running|paused)$/.test(container.status) ||
      container.keepsAddress;
    const joined = /^container:(.+)$/.exec(container.networkMode ?? "")?.[1];
    if (joined) {
      const other = this.#containers.get(joined);
      // Podman reports the other one's address.
      return this.#kind === "podman" && other ? this.#networks(other) : {};
    }
    if (container.networkMode === "host") {
      return this.#kind === "podman" ? null : { host: { IPAddress: "" } };
    }
    return {
      bridge: {
        NetworkID: NETWORK,
        EndpointID: runs ? container.endpoint : "",
        Gateway: runs && !container.gatewayIp ? "172.17.0.1" : "",
        IPAddress: runs ? container.ip ?? "" : "",
        GlobalIPv6Address: runs ? container.ip6 ?? "" : "",
      },
    };
  }

  #listed(asked: URLSearchParams): unknown {
    const isAll = asked.get("all") === "1";
    return this.#containers.values()
      .filter(({ status }) => isAll || /^(running|paused)$/.test(status))
      .map((container) => ({
        Id: container.id,
        Names: [`/${container.name}`],
        Image: container.image ?? "localhost/moat:1",
        State: container.status,
        Labels: container.labels ?? {},
        HostConfig: this.#kind === "podman"
          ? null
          : { NetworkMode: container.networkMode ?? "bridge" },
        NetworkSettings: { Networks: this.#networks(container) },
      })).toArray();
  }

  #inspected(id: string): unknown {
    const container = this.#containers.get(id);
    if (!container) return undefined;
    const { status } = container;
    const { env = {}, labels = {}, image = "localhost/moat:1" } = container;
    return {
      Id: id,
      Name: `/${container.name}`,
      State: {
        Status: status,
        Running: /^(running|paused|restarting)$/.test(status),
        Paused: status === "paused",
        Restarting: status === "restarting",
        StartedAt: container.startedAt,
        FinishedAt: container.finishedAt,
      },
      HostConfig: { NetworkMode: container.networkMode ?? "bridge" },
      NetworkSettings: { Networks: this.#networks(container) },
      Config: {
        Image: image,
        Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
        Labels: labels,
      },
    };
  }

  #gateways(): unknown {
    const members = this.#containers.values()
      .filter(({ gatewayIp, status }) => gatewayIp && status === "running")
      .map(({ id, gatewayIp }) => [id, {
        Name: `gateway_${id.slice(0, 12)}`,
        EndpointID: `9${id.slice(1)}`,
        IPv4Address: `${gatewayIp}/16`,
        IPv6Address: "",
      }]).toArray();
    if (members.length === 0) return undefined;
    return {
      Containers: Object.fromEntries([
        ...members,
        ["ingress-sbox", {
          Name: "gateway_ingress-sbox",
          EndpointID: "",
          IPv4Address: "172.19.0.2/16",
          IPv6Address: "",
        }],
      ]),
    };
  }
}
