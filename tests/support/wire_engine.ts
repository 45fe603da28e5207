/**
 * The Docker API of an engine whose containers are words: for clients at
 * addresses that a test has laid out itself.
 *
 * @module
 */

import { join } from "node:path";

/** A container that never was. */
export interface WordContainer {
  readonly name: string;
  /** IPv4 or IPv6. */
  readonly address: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** When it was started, whenever the engine tells of it. Default: now. */
  readonly startedAt?: Date;
}

interface Row extends WordContainer {
  readonly id: string;
  readonly startedAt: Date;
  isRunning: boolean;
}

/** A running API; `await using` ends it. */
export class WireEngine implements AsyncDisposable {
  /** How often all containers were listed. */
  lists = 0;
  readonly #directory: string;
  readonly #rows: Row[] = [];
  readonly #listeners = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly #server: Deno.HttpServer<Deno.UnixAddr>;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#server = Deno.serve(
      { path: join(directory, "docker.sock"), onListen() {} },
      (request) => this.#answer(new URL(request.url).pathname),
    );
  }

  /** Starts one without containers. */
  static async open(): Promise<WireEngine> {
    return new WireEngine(await Deno.makeTempDir({ prefix: "moat-engine-" }));
  }

  /** Its socket. */
  get url(): string {
    return `unix://${this.#directory}/docker.sock`;
  }

  /** Starts a container; gives its id. */
  start(container: WordContainer): string {
    const id = [...crypto.getRandomValues(new Uint8Array(32))]
      .map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const { startedAt = new Date() } = container;
    this.#rows.push({ ...container, id, startedAt, isRunning: true });
    this.#tell(id, "start", startedAt);
    return id;
  }

  /** Stops a container; it stays, with its address, as some engines have it. */
  stop(id: string): void {
    const row = this.#rows.find((row) => row.id === id);
    if (!row) return;
    row.isRunning = false;
    this.#tell(id, "die", new Date());
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    this.#listeners.clear();
    await this.#server.shutdown();
    await Deno.remove(this.#directory, { recursive: true });
  }

  #tell(id: string, Action: string, at: Date): void {
    const event = {
      ...{ Type: "container", Action, id, status: Action },
      Actor: { ID: id, Attributes: {} },
      timeNano: at.getTime() * 1e6,
    };
    const line = new TextEncoder().encode(`${JSON.stringify(event)}\n`);
    for (const listener of this.#listeners) listener.enqueue(line);
  }

  #answer(path: string): Response {
    if (path.endsWith("/events")) return this.#events();
    if (path.endsWith("/containers/json")) {
      this.lists++;
      return Response.json(this.#rows.map(listed));
    }
    const [, id] = /\/containers\/([0-9a-f]{64})\/json$/.exec(path) ?? [];
    const row = this.#rows.find((row) => row.id === id);
    return row
      ? Response.json(inspected(row))
      : Response.json({ message: "no such thing" }, { status: 404 });
  }

  #events(): Response {
    let own: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#listeners.add(own = controller);
      },
      cancel: () => {
        this.#listeners.delete(own);
      },
    });
    return new Response(body);
  }
}

function networksOf({ id, address }: Row) {
  const isSixth = address.includes(":");
  return {
    Networks: {
      bridge: {
        NetworkID: "b".repeat(64),
        EndpointID: id.slice(0, 32).padEnd(64, "e"),
        Gateway: "10.88.0.1",
        IPAddress: isSixth ? "" : address,
        GlobalIPv6Address: isSixth ? address : "",
      },
    },
  };
}

function listed(row: Row) {
  return {
    Id: row.id,
    Names: [`/${row.name}`],
    State: row.isRunning ? "running" : "exited",
    HostConfig: { NetworkMode: "default" },
    NetworkSettings: networksOf(row),
  };
}

function inspected(row: Row) {
  return {
    Id: row.id,
    Name: `/${row.name}`,
    State: {
      Status: row.isRunning ? "running" : "exited",
      Running: row.isRunning,
      Paused: false,
      Restarting: false,
      StartedAt: row.startedAt.toISOString(),
    },
    HostConfig: { NetworkMode: "default" },
    NetworkSettings: networksOf(row),
    Config: {
      Image: "image:1",
      Env: Object.entries(row.env ?? {}).map(([k, v]) => `${k}=${v}`),
      Labels: row.labels ?? {},
    },
  };
}
