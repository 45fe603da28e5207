/**
 * A container engine, asked by the Docker API over its unix socket.
 *
 * @module
 * @see {@link https://docs.docker.com/reference/api/engine/ | Docker Engine API}
 */

import type { Clock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { parseJson } from "$core/json.ts";
import { ProxyFailure } from "../intercept/failure.ts";
import { FOLLOWED_ACTIONS } from "./container_index.ts";
import type { ContainerState, Engine, EngineEvent } from "./engine.ts";
import {
  type Described,
  GATEWAY_NETWORK,
  type Gateways,
  readCutEvent,
  readEvent,
  readGateways,
  readInspected,
  readListed,
  WANTED_OF_INSPECTION,
  WANTED_OF_ROW,
} from "./engine_answers.ts";
import { type EngineAnswer, getFromEngine } from "./engine_http.ts";
import { JsonSieve, type Wanted } from "./json_sieve.ts";

/** Of labels or an environment; to read more takes moat's time from others. */
const MAX_VALUE_BYTES = 256 << 10;

/** Of an answer that is read in one piece. */
const MAX_ANSWER_BYTES = 8 << 20;

/** An event has all labels of its container; of a longer one the beginning is read. */
const MAX_EVENT_CHARS = 1 << 20;

/** An engine that does not answer by then hangs. */
const ANSWER_TIMEOUT_MS = 5000;

/** A list of ten thousand takes an engine some seconds. */
const LIST_TIMEOUT_MS = 30_000;

/** Others, such as those of health checks, come as often and as long as images like. */
const FOLLOWED = {
  type: ["container", "network"],
  event: FOLLOWED_ACTIONS,
};

type Bytes = Uint8Array<ArrayBuffer>;

/** A question. */
interface Question<T> {
  /** With its first slash. */
  readonly path: string;
  /** What it is about, for errors. */
  readonly subject: string;
  /** Reads a body; gives undefined for another shape. */
  readonly read: (body: AsyncIterable<Bytes>) => Promise<T | undefined>;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** Docker or podman, at a unix socket. */
export class EngineApi implements Engine {
  /** Its path. */
  readonly socket: string;
  /** See {@link Engine.hasLateEvents}; only of Docker it is known that it has none. */
  hasLateEvents = false;
  readonly #clock: Clock;
  readonly #closing = new AbortController();

  /**
   * Connects when it is asked.
   *
   * @param socket Path of the engine's socket.
   * @param clock Bounds each question.
   */
  constructor(socket: string, clock: Clock) {
    this.socket = socket;
    this.#clock = clock;
  }

  /** See {@link Engine.events}. */
  async events(signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const answer = await this.#open(`/events${filter(FOLLOWED)}`, signal);
    this.hasLateEvents = !answer.server.startsWith("Docker/");
    if (answer.status === 200) return this.#readEvents(answer);
    answer.close();
    throw garbage("events", `status ${answer.status}`);
  }

  /** See {@link Engine.list}. */
  async list(signal: AbortSignal): Promise<readonly ContainerState[]> {
    const found = await this.#ask({
      path: "/containers/json?all=1",
      subject: "all containers",
      read: (body) => readRows(body, WANTED_OF_ROW, readListed),
      signal,
      timeoutMs: LIST_TIMEOUT_MS,
    });
    if (!found) throw garbage("all containers", "nothing");
    const gateways = await this.#gateways(found);
    return found.map((each) => {
      const state = each.state(gateways);
      // Podman's say nothing of networks that are shared, whatever they say.
      return this.hasLateEvents ? { ...state, isPartial: true } : state;
    });
  }

  /** See {@link Engine.inspect}. */
  async inspect(id: string): Promise<ContainerState | undefined> {
    const found = await this.#ask({
      path: `/containers/${id}/json`,
      subject: "a container",
      read: (body) => readOne(body, WANTED_OF_INSPECTION, readInspected),
    });
    const state = found?.state(await this.#gateways([found]));
    if (state && state.id !== id) throw garbage("a container", "another one");
    return state;
  }

  /** See {@link Engine.close}. */
  close(): void {
    this.#closing.abort();
  }

  async #gateways(described: readonly Described[]): Promise<Gateways> {
    const found = described.some(({ needsGateways }) => needsGateways)
      ? await this.#ask({
        path: `/networks/${GATEWAY_NETWORK}`,
        subject: "a network",
        read: async (body) => readGateways(parseJson(await whole(body))),
      })
      : undefined;
    return found ?? new Map();
  }

  /** Gives undefined for what there is not. */
  async #ask<T>(question: Question<T>): Promise<T | undefined> {
    const { timeoutMs = ANSWER_TIMEOUT_MS, subject } = question;
    const late = new AbortController();
    const cancel = this.#clock.after(timeoutMs, () => late.abort());
    const signals = [late.signal, this.#closing.signal, question.signal]
      .filter((signal) => signal !== undefined);
    try {
      const answer = await this.#open(question.path, AbortSignal.any(signals));
      if (answer.status !== 200) answer.close();
      if (answer.status === 404) return undefined;
      if (answer.status !== 200) {
        throw garbage(subject, `status ${answer.status}`);
      }
      const found = await this.#try(() => question.read(answer.body));
      if (found === undefined) throw garbage(subject, "something else");
      return found;
    } finally {
      cancel();
    }
  }

  #open(path: string, signal: AbortSignal): Promise<EngineAnswer> {
    return this.#try(() => getFromEngine(this.socket, path, signal));
  }

  async *#readEvents({ body }: EngineAnswer): AsyncGenerator<EngineEvent> {
    const decoder = new TextDecoder();
    const pieces = body[Symbol.asyncIterator]();
    let text = "";
    try {
      for (;;) {
        const { value, done } = await this.#try(() => pieces.next());
        const piece = done ? "\n" : decoder.decode(value, { stream: true });
        const [first = "", ...others] = piece.split("\n");
        if (text.length <= MAX_EVENT_CHARS) text += first;
        const lines = [text, ...others];
        text = lines.pop() ?? "";
        for (const line of lines) {
          if (line.trim() === "") continue;
          const event = line.length > MAX_EVENT_CHARS
            ? readCutEvent(line)
            : readEvent(parseJson(line));
          if (!event) throw garbage("events", "something else");
          if (event !== "other") yield event;
        }
        if (done) return;
      }
    } finally {
      await pieces.return?.();
    }
  }

  async #try<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof MoatError) throw error;
      if (error instanceof ProxyFailure) throw garbage("itself", "no HTTP");
      throw socketError(this.socket, error);
    }
  }
}

/**
 * Says why an engine cannot be asked.
 *
 * @param socket Path of its socket.
 * @param error What connecting or reading ended with.
 * @returns `engine-denied` or `engine-unavailable`.
 */
export function socketError(socket: string, error: unknown): MoatError {
  const cannot = `Cannot ask the container engine at "${socket}"`;
  if (error instanceof Deno.errors.PermissionDenied) {
    return new MoatError("engine-denied", `${cannot}: permission denied`, {
      hint: "run moat as a user who may use the engine, such as root",
      cause: error,
    });
  }
  const [reason, hint] = error instanceof Deno.errors.NotFound
    ? ["there is no such socket", START]
    : error instanceof Deno.errors.ConnectionRefused
    ? ["nobody listens there", START]
    : ["it did not answer", "see that it runs"];
  return new MoatError("engine-unavailable", `${cannot}: ${reason}`, {
    hint,
    cause: error,
  });
}

/** podman's API has a unit of its own, which is often off. */
const START =
  "start it (podman: systemctl enable --now podman.socket), or name its socket by DOCKER_HOST=unix:///PATH, or by engines in [metadata] of moat.toml";

function garbage(subject: string, found: string): MoatError {
  return new MoatError(
    "engine-garbage",
    `Cannot read what the container engine says of ${subject}: wanted JSON of the Docker API, found ${found}`,
    { hint: "see that the socket is a container engine's" },
  );
}

/** A body in one piece. */
async function whole(body: AsyncIterable<Bytes>): Promise<Uint8Array> {
  const chunks: Bytes[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) {
      throw garbage("a network", `over ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return await new Blob(chunks).bytes();
}

/** A list, row by row: it may take many times what is kept of it. */
async function readRows(
  body: AsyncIterable<Bytes>,
  wanted: Wanted,
  read: (json: unknown) => Described | undefined,
): Promise<Described[] | undefined> {
  const sieve = new JsonSieve({ wanted, maxValueBytes: MAX_VALUE_BYTES });
  const found: Described[] = [];
  for await (const chunk of body) {
    for (const row of sieve.push(chunk) ?? [""]) {
      const described = read(parseJson(row));
      if (!described) return undefined;
      found.push(described);
    }
  }
  return sieve.hasEnded ? found : undefined;
}

/** An object, as the one row of a list. */
async function readOne(
  body: AsyncIterable<Bytes>,
  wanted: Wanted,
  read: (json: unknown) => Described | undefined,
): Promise<Described | undefined> {
  const rows = await readRows(inBrackets(body), wanted, read);
  return rows?.length === 1 ? rows[0] : undefined;
}

async function* inBrackets(body: AsyncIterable<Bytes>): AsyncGenerator<Bytes> {
  yield new TextEncoder().encode("[");
  yield* body;
  yield new TextEncoder().encode("]");
}

function filter(filters: Readonly<Record<string, readonly string[]>>): string {
  return `?filters=${encodeURIComponent(JSON.stringify(filters))}`;
}
