/**
 * A container engine that only pretends: the part of the Docker API that moat
 * asks, at a unix socket, with as many containers as one likes, to which
 * nothing ever happens.
 *
 * @module
 */

/** A made-up container. */
export interface BenchContainer {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Its name. */
  readonly name: string;
  /** IPv4. */
  readonly address: string;
  /** `IAM_ROLE`; default: none. */
  readonly role?: string;
}

const NETWORK = "b".repeat(64);
const STARTED = "2026-01-01T00:00:00.123456789Z";

/**
 * Makes containers of 10.128.0.0/9.
 *
 * @param count How many.
 */
export function makeContainers(count: number): BenchContainer[] {
  return Array.from({ length: count }, (_, i) => ({
    id: i.toString(16).padStart(12, "0").repeat(6).slice(0, 64),
    name: `project-service-${i}`,
    address: `10.${128 + (i >> 16)}.${i >> 8 & 255}.${i & 255}`,
    role: `service-${i}`,
  }));
}

/** What an engine says of it in a list. */
export function listedJson(container: BenchContainer): unknown {
  const { id, name } = container;
  return {
    Id: id,
    Names: [`/${name}`],
    Image: "registry.example/team/service:1.2.3",
    ImageID: `sha256:${"c".repeat(64)}`,
    Command: "/usr/bin/service --listen 8080",
    Created: 1767225600,
    Ports: [],
    Labels: LABELS,
    State: "running",
    Status: "Up 3 days",
    HostConfig: { NetworkMode: "default" },
    NetworkSettings: networksOf(container),
    Mounts: [],
  };
}

/** What an engine says of it when it is asked about it alone. */
export function inspectedJson(container: BenchContainer): unknown {
  const { id, name, role } = container;
  return {
    Id: id,
    Name: `/${name}`,
    State: {
      Status: "running",
      Running: true,
      Paused: false,
      Restarting: false,
      StartedAt: STARTED,
    },
    HostConfig: { NetworkMode: "default" },
    NetworkSettings: networksOf(container),
    Config: {
      Image: "registry.example/team/service:1.2.3",
      Env: [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ...role === undefined ? [] : [`IAM_ROLE=${role}`],
      ],
      Labels: LABELS,
    },
  };
}

/** As of Docker Compose. */
const LABELS = {
  "com.docker.compose.project": "project",
  "com.docker.compose.service": "service",
  "com.docker.compose.config-hash": "d".repeat(64),
};

function networksOf({ id, address }: BenchContainer) {
  return {
    Networks: {
      bridge: {
        NetworkID: NETWORK,
        EndpointID: `e${id.slice(1)}`,
        Gateway: "10.128.0.1",
        IPAddress: address,
        IPPrefixLen: 9,
        IPv6Gateway: "",
        GlobalIPv6Address: "",
        MacAddress: "02:42:0a:80:00:02",
      },
    },
  };
}

/** A running engine; `await using` ends it. */
export class BenchEngine implements AsyncDisposable {
  /** How often it was asked about a container. */
  inspections = 0;
  /** How often it was asked for all of them. */
  lists = 0;
  /** Path of its socket. */
  readonly socket: string;
  readonly #containers: ReadonlyMap<string, BenchContainer>;
  readonly #events = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly #server: Deno.HttpServer<Deno.UnixAddr>;

  /** Serves containers at a socket that is not there yet. */
  constructor(socket: string, containers: readonly BenchContainer[]) {
    this.socket = socket;
    this.#containers = new Map(containers.map((one) => [one.id, one]));
    this.#server = Deno.serve(
      { path: socket, onListen() {} },
      ({ url }) => this.#answer(new URL(url).pathname),
    );
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.#events) stream.close();
    this.#events.clear();
    await this.#server.shutdown();
  }

  #answer(path: string): Response {
    if (path === "/events") return new Response(this.#stream());
    if (path === "/containers/json") {
      this.lists++;
      return Response.json([...this.#containers.values()].map(listedJson));
    }
    const [, id = ""] = /^\/containers\/(\w+)\/json$/.exec(path) ?? [];
    const container = this.#containers.get(id);
    if (!container) return new Response("{}", { status: 404 });
    this.inspections++;
    return Response.json(inspectedJson(container));
  }

  #stream(): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>;
    return new ReadableStream({
      start: (controller) => {
        this.#events.add(own = controller);
        // Sends the head at once.
        controller.enqueue(new TextEncoder().encode("\n"));
      },
      cancel: () => void this.#events.delete(own),
    });
  }
}
