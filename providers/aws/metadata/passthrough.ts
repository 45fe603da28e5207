/**
 * Harmless paths of the host's real service that a person named: fetched with
 * a token of our own, from a list that was checked at start. Nothing of the
 * client goes along, not even its path: it only picks one of the list.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Clock } from "$core/clock.ts";
import { usageError } from "$core/errors.ts";
import { OTHER_ADDRESS } from "$core/metadata.ts";
import { inTime } from "../sources/call.ts";
import { recordSource } from "../sources/record.ts";
import type { Content } from "./answers.ts";
import { VERSIONS } from "./paths.ts";
import { Refusal } from "./refusal.ts";

const DEFAULT_SERVICE = "http://169.254.169.254";

/** SDKs give up after a second. */
const TIMEOUT_MS = 900;

const MAX_BYTES = 64 * 1024;

/** Short, because it is fetched again when it ends. */
const TOKEN_TTL_SECONDS = 300;

/** Colons are for the hardware addresses of network interfaces. */
const PATH = /^\/([^/]+)\/meta-data\/([\w:-]+(?:\/[\w:-]+)*\/?)$/;

/** Credentials, identity and keys. */
const FORBIDDEN = [
  "iam",
  "identity-credentials",
  "managed-ssh-keys",
  "public-keys",
];

/** How long the real service took, in ms. */
export interface PassthroughTime {
  /** Until it was connected to. */
  connect: number;
  /** In all. */
  total: number;
}

/** Fetches one path. */
export type Fetch = (time: PassthroughTime) => Promise<Content>;

/** What {@link createPassthrough} needs. */
export interface PassthroughOptions {
  /** What a person named. */
  readonly paths: readonly string[];
  /** Where moat itself listens, such as `http://[::1]:80`. Default: unknown. */
  readonly ownUrls?: readonly string[];
  /** Where the service is: AWS_EC2_METADATA_SERVICE_ENDPOINT. */
  readonly env: Readonly<Record<string, string>>;
  /** Bounds each request. */
  readonly clock: Clock;
}

/**
 * Checks what may pass through.
 *
 * @param options Paths, and where the service is.
 * @returns What fetches a path; undefined for one that was not named.
 * @throws {MoatError} `usage` for a path that could tell more than a harmless
 * fact, or that is not exact; and for a service that is no plain http URL, or
 * moat itself.
 */
export function createPassthrough(
  { paths, ownUrls = [], env, clock }: PassthroughOptions,
): (path: string) => Fetch | undefined {
  paths.forEach(checkPath);
  if (paths.length === 0) return () => undefined;
  const url = endpoint(env);
  checkOther(url, ownUrls);
  const service = new RealService(url, clock);
  const fetches = new Map(
    paths.map((
      path,
    ): [string, Fetch] => [path, (time) => service.get(path, time)]),
  );
  return (path) => fetches.get(path);
}

function checkPath(path: string): void {
  const [, version = "", rest = ""] = PATH.exec(path) ?? [];
  const [first = ""] = rest.split("/");
  const isHarmless = VERSIONS.includes(version) && !FORBIDDEN.includes(first);
  if (isHarmless) return;
  throw usageError(
    `Cannot pass ${
      JSON.stringify(path.slice(0, 120))
    } through to the host's metadata service: wanted one exact path below /latest/meta-data/, and none of ${
      FORBIDDEN.join(", ")
    }`,
    "name a harmless one, such as /latest/meta-data/placement/availability-zone-id",
  );
}

function endpoint(env: PassthroughOptions["env"]): URL {
  const url = recordSource(env).instanceEndpoint ?? DEFAULT_SERVICE;
  const parsed = new URL(url);
  if (parsed.protocol === "http:" && /^\/?$/.test(parsed.pathname)) {
    return parsed;
  }
  throw usageError(
    "Cannot pass anything through: AWS_EC2_METADATA_SERVICE_ENDPOINT is no http URL without a path",
    `remove it, or give one such as ${DEFAULT_SERVICE}`,
  );
}

function checkOther(service: URL, ownUrls: readonly string[]): void {
  // An address with a zone is no URL.
  const origins = ownUrls.map((url) => URL.parse(url)?.origin);
  if (!origins.includes(service.origin)) return;
  throw usageError(
    `Cannot pass anything through: at ${service.hostname}:${
      service.port || 80
    } moat itself is to listen, not the host's metadata service`,
    `moat network-rules --to ${OTHER_ADDRESS} --apply, then moat proxy --imds ${OTHER_ADDRESS}`,
  );
}

interface Got {
  readonly status: number;
  readonly body: string;
}

/** The host's real service, whose answers are not believed to be small or quick. */
class RealService {
  readonly #url: URL;
  readonly #clock: Clock;
  #token = "";
  /** One request a path, however many clients ask. */
  readonly #pending = new Map<string, Promise<Content>>();

  constructor(url: URL, clock: Clock) {
    this.#url = url;
    this.#clock = clock;
  }

  async get(path: string, time: PassthroughTime): Promise<Content> {
    const startedAt = this.#clock.now();
    let pending = this.#pending.get(path);
    if (!pending) {
      pending = this.#fetch(path, time)
        .finally(() => this.#pending.delete(path));
      this.#pending.set(path, pending);
    }
    try {
      return await pending;
    } finally {
      time.total = this.#clock.now() - startedAt;
    }
  }

  async #fetch(path: string, time: PassthroughTime): Promise<Content> {
    const got = await inTime(
      this.#clock,
      TIMEOUT_MS,
      new Error("the host's metadata service took too long"),
      (signal) => this.#ask(path, time, signal),
    ).catch(() => ({ status: 0, body: "" }));
    if (got.status === 200) {
      return { body: got.body, contentType: "text/plain" };
    }
    throw got.status === 404 ? NOTHING_THERE : UNAVAILABLE;
  }

  /** A token that has ended is fetched anew, once. */
  async #ask(
    path: string,
    time: PassthroughTime,
    signal: AbortSignal,
  ): Promise<Got> {
    if (this.#token) {
      const got = await this.#send("GET", path, time, signal);
      if (got.status !== 401) return got;
    }
    this.#token = "";
    const { status, body } = await this.#send(
      "PUT",
      "/latest/api/token",
      time,
      signal,
    );
    if (status !== 200 || !/^[\x21-\x7e]{1,1024}$/.test(body)) {
      return { status: 0, body: "" };
    }
    this.#token = body;
    return await this.#send("GET", path, time, signal);
  }

  /** Not by `fetch`: it would ask the proxy that HTTP_PROXY names. */
  async #send(
    method: "GET" | "PUT",
    path: string,
    time: PassthroughTime,
    signal: AbortSignal,
  ): Promise<Got> {
    const http = await import("node:http");
    const { promise, resolve, reject } = Promise.withResolvers<Got>();
    const startedAt = this.#clock.now();
    const { hostname, port } = this.#url;
    const request = http.request({
      hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
      port: port || 80,
      method,
      path,
      agent: false,
      signal,
      headers: method === "PUT"
        ? { "X-aws-ec2-metadata-token-ttl-seconds": String(TOKEN_TTL_SECONDS) }
        : { "X-aws-ec2-metadata-token": this.#token },
    });
    request.on("socket", (socket) => {
      socket.once("connect", () => {
        time.connect += this.#clock.now() - startedAt;
      });
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Uint8Array[] = [];
      let size = 0;
      response.on("data", (chunk: Uint8Array) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size <= MAX_BYTES) return;
        reject(new Error("too long"));
        request.destroy();
      });
      response.on("error", reject);
      response.on("close", () => reject(new Error("cut short")));
      response.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, body });
      });
    });
    request.end();
    return await promise;
  }
}

const NOTHING_THERE = new Refusal(
  404,
  "not-found",
  "The host's metadata service has nothing at this path",
  "not_found",
);

const UNAVAILABLE = new Refusal(
  502,
  "metadata-unavailable",
  "The host's metadata service does not answer this path",
  "could_not_pass_through",
);
