/**
 * How commands talk to a running proxy: one JSON object a line over a unix
 * socket that only its owner can open. This is the client; the proxy's side
 * is `proxy/control.ts`.
 *
 * @module
 */

import { dirname } from "node:path";
import type { Binding } from "./binding.ts";
import type { Clock } from "./clock.ts";
import type { ContainerMatch } from "./container.ts";
import { MoatError } from "./errors.ts";
import { checkPrivateDir, writeAll } from "./files.ts";
import type { JsonObject } from "./grant.ts";
import type { Platform } from "./platform.ts";
import type { Policy } from "./policy.ts";
import type { MountedFile } from "./provider.ts";
import type { Reach } from "./reach.ts";

/** Asks for a binding that lives as long as this connection. */
export interface RunRequest {
  /** Chosen by the client; opening the same run again resumes it. */
  readonly run: string;
  /** Full grant names. */
  readonly grants: readonly string[];
  /** See `digestToken`. The proxy never sees the token. */
  readonly tokenDigest: string;
  /** Where the client will see the run's files, such as `/moat`. */
  readonly directory: string;
  /** How the client reaches the proxy. */
  readonly reach: Reach;
  /** See {@link Binding.mode}. */
  readonly mode?: string;
  /** See {@link Binding.settings}. */
  readonly settings?: NonNullable<Binding["settings"]>;
  /** See {@link Binding.policy}. */
  readonly policy?: Policy;
  /** See {@link Binding.subject}. */
  readonly subject?: NonNullable<Binding["subject"]>;
  /** See {@link Binding.container}. */
  readonly container?: ContainerMatch;
}

/** What a run was given. */
export interface RunOpened {
  /** Base URL for the client. */
  readonly endpointUrl: string;
  /** Environment for the client; a placeholder where the token is to be. */
  readonly env: Readonly<Record<string, string>>;
  /** Files for the client, the token not among them. */
  readonly files: readonly MountedFile[];
  /** Variables that would override `env`. */
  readonly conflictingEnv: readonly string[];
  /** Whether the proxy ends with its last run. */
  readonly endsWhenIdle: boolean;
  /** By grant: the credentials that it takes from the proxy's environment; see `Provider.environmentIdentity`. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Something that ends, as `status` tells it. */
export interface ExpiryStatus {
  /** The grant. */
  readonly grant: string;
  /** What ends, such as `certificate`. */
  readonly what: string;
  /** RFC 3339. */
  readonly expiresAt: string;
  /** What to do. */
  readonly hint: string;
}

/** What `status` tells. */
export interface ProxyStatus {
  /** Its process id. */
  readonly pid: number;
  /** Version and commit. */
  readonly version: string;
  /** The base URL of each permanent listener. */
  readonly listeners: readonly string[];
  /** The base URL of each listener for instance metadata; absent: there is none. */
  readonly imds?: readonly string[];
  /** The names of live runs. */
  readonly runs: readonly string[];
  /** The names of stored bindings that a client has used, or that have a listener. */
  readonly bindings: readonly string[];
  /** What must be renewed by a person, the soonest first. */
  readonly expiries: readonly ExpiryStatus[];
}

/** Each method with what it takes and gives. */
export interface ControlMethods {
  /** Opens or resumes a run. */
  "run-open": { params: RunRequest; result: RunOpened };
  /** Ends a run at once. */
  "run-close": {
    params: { readonly run: string };
    result: Record<never, never>;
  };
  /** Makes a changed or revoked grant count at once. */
  "grant-changed": {
    params: { readonly name: string };
    result: { readonly warnings: readonly string[] };
  };
  /** Makes a binding that was stored anew, or removed, count at once, and audits it. */
  "binding-changed": {
    params: { readonly name: string };
    result: Record<never, never>;
  };
  /**
   * Calls one of a provider's own methods, or `explain`, which takes `grant`
   * and gives `lines` for every provider that can explain.
   */
  provider: {
    params: {
      readonly provider: string;
      readonly method: string;
      readonly params: JsonObject;
    };
    result: JsonObject;
  };
  /** Tells what runs. */
  status: { params: Record<never, never>; result: ProxyStatus };
}

/** An answer takes longer only if the proxy hangs. */
const ANSWER_TIMEOUT_MS = 10_000;

/** A provider may wait for its upstream, for 12 s and a little more. */
const PROVIDER_TIMEOUT_MS = 20_000;

/** How an error travels. */
interface ErrorLine {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

interface Reply {
  readonly id: number;
  /** Not a reply: something that the client should know meanwhile. */
  readonly notice?: ErrorLine;
  readonly result?: unknown;
  readonly error?: ErrorLine;
}

/** One connection to the control socket. */
export class ControlClient {
  readonly #conn: Deno.UnixConn;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  /** Told what goes wrong meanwhile, such as a session that cannot be had. */
  onNotice: ((error: MoatError) => void) | undefined;
  /** Settles when the proxy or we closed the connection. */
  readonly closed: Promise<void>;

  private constructor(conn: Deno.UnixConn, clock: Clock) {
    this.#conn = conn;
    this.#clock = clock;
    this.closed = this.#read();
  }

  /**
   * Connects to the proxy of this home.
   *
   * @param path The control socket.
   * @param clock Bounds the wait for an answer.
   * @returns The connection, or undefined if no proxy is running.
   * @throws {MoatError} `insecure-directory` or `control-denied` if others have a hand in it.
   */
  static async connect(
    path: string,
    clock: Clock,
  ): Promise<ControlClient | undefined> {
    // Whoever can put a socket there would tell us what to run.
    await checkPrivateDir(dirname(path));
    try {
      return new ControlClient(
        await Deno.connect({ transport: "unix", path }),
        clock,
      );
    } catch (error) {
      if (
        error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.ConnectionRefused ||
        // Too long for a socket's path: nobody can listen there.
        error instanceof TypeError
      ) return undefined;
      throw new MoatError(
        "control-denied",
        `Cannot connect to the proxy at "${path}": ${
          error instanceof Error ? error.name : "unknown"
        }`,
        {
          hint: "use the same user and MOAT_HOME as the proxy",
          cause: error,
        },
      );
    }
  }

  /**
   * Calls a method of the proxy.
   *
   * @param method Its name.
   * @param params What it takes.
   * @returns What it gives.
   * @throws {MoatError} The proxy's own error, or `control-lost`.
   */
  async call<M extends keyof ControlMethods>(
    method: M,
    params: ControlMethods[M]["params"],
  ): Promise<ControlMethods[M]["result"]> {
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    // When the connection ends while we send, the write is what fails.
    waiting.promise.catch(() => {});
    this.#waiting.set(id, waiting);
    const cancel = this.#clock.after(
      method === "provider" ? PROVIDER_TIMEOUT_MS : ANSWER_TIMEOUT_MS,
      () => waiting.reject(lost()),
    );
    try {
      // Not awaited: a proxy that hangs may not even read.
      writeLine(this.#conn, { id, method, params })
        .catch((cause) => waiting.reject(lost(cause)));
      return await waiting.promise as ControlMethods[M]["result"];
    } finally {
      cancel();
      this.#waiting.delete(id);
    }
  }

  /** Closes the connection; runs opened on it end after their grace. */
  close(): void {
    try {
      this.#conn.close();
    } catch {
      // The proxy closed it first.
    }
  }

  async #read(): Promise<void> {
    try {
      for await (const line of readLines(this.#conn)) {
        this.#settle(JSON.parse(line));
      }
    } catch {
      // A broken connection ends like a closed one.
    }
    this.close();
    for (const waiting of this.#waiting.values()) waiting.reject(lost());
  }

  #settle(reply: Reply): void {
    if (reply.notice) return this.onNotice?.(fromLine(reply.notice));
    const waiting = this.#waiting.get(reply.id);
    if (!reply.error) return waiting?.resolve(reply.result);
    waiting?.reject(fromLine(reply.error));
  }
}

/**
 * Calls one method of the running proxy, on a connection of its own.
 *
 * @param platform Where its socket is, and what bounds the call.
 * @param method Its name.
 * @param params What it takes.
 * @returns What it gives; undefined when no proxy runs.
 * @throws {MoatError} As {@link ControlClient.connect} and {@link ControlClient.call}.
 */
export async function callProxy<M extends keyof ControlMethods>(
  { paths, clock }: Pick<Platform, "paths" | "clock">,
  method: M,
  params: ControlMethods[M]["params"],
): Promise<ControlMethods[M]["result"] | undefined> {
  const proxy = await ControlClient.connect(paths.controlSocket, clock);
  if (!proxy) return undefined;
  try {
    return await proxy.call(method, params);
  } finally {
    proxy.close();
    await proxy.closed;
  }
}

/** A request is some kilobytes; more is no client of ours. */
const MAX_LINE_BYTES = 1 << 20;

/**
 * Splits a connection into lines.
 *
 * @param conn What to read until its end.
 * @returns Each line without its newline.
 * @throws {RangeError} If a line exceeds 1 MiB.
 */
export async function* readLines(
  conn: { readonly readable: ReadableStream<Uint8Array> },
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of conn.readable) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    yield* lines;
    if (text.length > MAX_LINE_BYTES) throw new RangeError("line too long");
  }
}

/**
 * Writes one line of the protocol.
 *
 * @param conn Where to.
 * @param value What JSON can hold.
 */
export async function writeLine(
  conn: { write(bytes: Uint8Array): Promise<number> },
  value: unknown,
): Promise<void> {
  await writeAll(conn, new TextEncoder().encode(JSON.stringify(value) + "\n"));
}

function fromLine({ code, message, hint }: ErrorLine): MoatError {
  return new MoatError(code, message, hint ? { hint } : {});
}

function lost(cause?: unknown): MoatError {
  return new MoatError(
    "control-lost",
    "Lost the connection to the proxy",
    { hint: "run the command again", cause },
  );
}
