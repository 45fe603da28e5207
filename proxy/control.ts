/**
 * The proxy's side of the control socket; the protocol is in
 * `core/control.ts`. Only the owner can open the socket: it is 0600 in a 0700
 * directory.
 *
 * @module
 */

import { dirname } from "node:path";
import * as v from "valibot";
import { type Clock, sleep, systemClock } from "$core/clock.ts";
import { type ContainerMatch, isContainerMatch } from "$core/container.ts";
import {
  type ControlMethods,
  type ProxyStatus,
  readLines,
  writeLine,
} from "$core/control.ts";
import { type MoatError, toMoatError, usageError } from "$core/errors.ts";
import { ensurePrivateDir } from "$core/files.ts";
import type { Json, JsonObject } from "$core/grant.ts";
import { checkSocketPath } from "$core/paths.ts";
import { parsePolicy, type Policy } from "$core/policy.ts";
import { RUN_NAME } from "./runs/run_files.ts";
import type { RunOwner, Runs } from "./runs/runs.ts";

/** It came out of JSON.parse, so it is JSON. */
const JsonSchema = v.custom<Json>(() => true);

const PortSchema = v.pipe(
  v.number(),
  v.integer(),
  v.minValue(1),
  v.maxValue(65_535),
);
const RunOpenSchema = v.strictObject({
  run: v.pipe(v.string(), v.regex(RUN_NAME)),
  grants: v.pipe(v.array(v.string()), v.minLength(1)),
  tokenDigest: v.pipe(v.string(), v.regex(/^[\w-]{64}$/)),
  directory: v.pipe(v.string(), v.startsWith("/")),
  reach: v.variant("by", [
    v.strictObject({ by: v.literal("loopback") }),
    v.strictObject({
      by: v.literal("name"),
      name: v.pipe(v.string(), v.regex(/^[\w.-]+$/)),
    }),
    v.strictObject({
      by: v.literal("gateway"),
      address: v.pipe(v.string(), v.ip()),
      port: v.exactOptional(
        PortSchema,
      ),
    }),
    v.strictObject({
      by: v.literal("address"),
      address: v.pipe(v.string(), v.ip()),
      port: PortSchema,
    }),
    v.strictObject({
      by: v.literal("socket"),
      path: v.pipe(v.string(), v.startsWith("/")),
      port: PortSchema,
    }),
  ]),
  mode: v.exactOptional(v.string()),
  settings: v.exactOptional(v.record(v.string(), JsonSchema)),
  policy: v.exactOptional(
    v.custom<Policy>((value) => parsePolicy(value) !== undefined),
  ),
  subject: v.exactOptional(v.strictObject({
    run: v.exactOptional(v.string()),
    container: v.exactOptional(v.string()),
    user: v.exactOptional(v.string()),
    labels: v.exactOptional(v.record(v.string(), v.string())),
  })),
  container: v.exactOptional(v.custom<ContainerMatch>(isContainerMatch)),
});
const RunCloseSchema = v.strictObject({ run: v.string() });
const ChangedSchema = v.strictObject({ name: v.string() });
const ProviderSchema = v.strictObject({
  provider: v.string(),
  method: v.string(),
  params: v.record(v.string(), JsonSchema),
});
const RequestSchema = v.strictObject({
  id: v.number(),
  method: v.string(),
  params: v.record(v.string(), v.unknown()),
});

const ACCEPT_PAUSE_MS = 50;

/** What the control socket can do to the proxy. */
export interface ControlTarget {
  /** The live runs. */
  readonly runs: Runs;
  /** Tells what runs. */
  status(): ProxyStatus;
  /** Returns warnings for the person who changed it. */
  grantChanged(name: string): Promise<readonly string[]>;
  /** Makes a binding that was stored or removed count. */
  bindingChanged(name: string): Promise<void>;
  /** Calls a provider's own method; its result is never logged. */
  callProvider(
    provider: string,
    method: string,
    params: JsonObject,
  ): Promise<JsonObject>;
  /** Called when a client has gone. */
  onDisconnect?(): void;
}

/** A control socket that is served. */
export interface ControlServer {
  /** How many clients are connected. */
  readonly connections: number;
  /** Stops serving and removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves the control socket. The caller holds the proxy's lock, so a socket
 * that is there already is a left-over.
 *
 * @param path Where the socket is.
 * @param target What its requests act on.
 * @param clock Paces new attempts after a failure to accept.
 * @returns The running server.
 * @throws {MoatError} `path-too-long`, or the directory is not private.
 */
export async function serveControl(
  path: string,
  target: ControlTarget,
  clock: Clock = systemClock,
): Promise<ControlServer> {
  checkSocketPath(path);
  await ensurePrivateDir(dirname(path));
  await Deno.remove(path).catch(() => {/* there was none */});
  const mask = Deno.umask(0o177);
  const listener = Deno.listen({ transport: "unix", path });
  Deno.umask(mask);
  const open = new Set<Deno.UnixConn>();
  const serving = acceptAll(listener, open, target, clock);
  return {
    get connections() {
      return open.size;
    },
    async close() {
      listener.close();
      for (const conn of open) closeQuietly(conn);
      await serving;
      await Deno.remove(path).catch(() => {/* removed by hand */});
    },
  };
}

async function acceptAll(
  listener: Deno.UnixListener,
  open: Set<Deno.UnixConn>,
  target: ControlTarget,
  clock: Clock,
): Promise<void> {
  const serving = new Set<Promise<void>>();
  for await (const conn of connections(listener, clock)) {
    open.add(conn);
    const client = new Client(conn);
    const done = serveConnection(conn, client, target).finally(() => {
      open.delete(conn);
      closeQuietly(conn);
      target.runs.disconnected(client);
      target.onDisconnect?.();
      serving.delete(done);
    });
    serving.add(done);
  }
  await Promise.all(serving);
}

/** Goes on after a failure to accept, such as too many open files. */
async function* connections(
  listener: Deno.UnixListener,
  clock: Clock,
): AsyncGenerator<Deno.UnixConn> {
  for (;;) {
    try {
      yield await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource) return;
      if (error instanceof Deno.errors.Interrupted) return;
      await sleep(clock, ACCEPT_PAUSE_MS);
    }
  }
}

/** A connected client: its runs live as long as the connection. */
class Client implements RunOwner {
  readonly #conn: Deno.UnixConn;
  #sent: Promise<void> = Promise.resolve();

  constructor(conn: Deno.UnixConn) {
    this.#conn = conn;
  }

  /** Writes one line, after those before it. */
  send(message: unknown): Promise<void> {
    return this.#sent = this.#sent.then(() => writeLine(this.#conn, message));
  }

  notify({ code, message, hint }: MoatError): void {
    this.send({ notice: { code, message, ...(hint && { hint }) } })
      .catch(() => {/* it has gone */});
  }
}

async function serveConnection(
  conn: Deno.UnixConn,
  client: Client,
  target: ControlTarget,
): Promise<void> {
  try {
    for await (const line of readLines(conn)) {
      await client.send(await answer(line, client, target));
    }
  } catch {
    // A client that breaks off ends like one that closes.
  }
}

async function answer(
  line: string,
  client: Client,
  target: ControlTarget,
): Promise<unknown> {
  let id = 0;
  try {
    const request = v.parse(RequestSchema, JSON.parse(line));
    id = request.id;
    const result = await call(request.method, request.params, client, target);
    return { id, result };
  } catch (thrown) {
    const error = thrown instanceof v.ValiError || thrown instanceof SyntaxError
      ? usageError(
        "Cannot read this control request",
        "use the same version of moat for all commands",
      )
      : toMoatError(thrown);
    const { code, message, hint } = error;
    return { id, error: { code, message, ...(hint && { hint }) } };
  }
}

function call(
  method: string,
  params: Record<string, unknown>,
  client: Client,
  target: ControlTarget,
): Promise<unknown> {
  const methods: {
    [M in keyof ControlMethods]: () => Promise<ControlMethods[M]["result"]>;
  } = {
    "run-open": () =>
      target.runs.open(
        v.parse(RunOpenSchema, params),
        client,
      ),
    "run-close": async () => {
      await target.runs.close(v.parse(RunCloseSchema, params).run, client);
      return {};
    },
    "grant-changed": async () => ({
      warnings: await target.grantChanged(
        v.parse(ChangedSchema, params).name,
      ),
    }),
    "binding-changed": async () => {
      await target.bindingChanged(v.parse(ChangedSchema, params).name);
      return {};
    },
    provider: () => {
      const call = v.parse(ProviderSchema, params);
      return target.callProvider(call.provider, call.method, call.params);
    },
    status: () => Promise.resolve(target.status()),
  };
  if (Object.hasOwn(methods, method)) {
    return methods[method as keyof ControlMethods]();
  }
  throw usageError(
    `Cannot find control method ${JSON.stringify(method)}`,
    "use the same version of moat for all commands",
  );
}

function closeQuietly(conn: Deno.UnixConn): void {
  try {
    conn.close();
  } catch {
    // It is closed already.
  }
}
