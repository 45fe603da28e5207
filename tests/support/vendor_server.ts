/**
 * The vendors of the tests in one process: what is asked of each host, on port
 * 443 of a network of its own. Says `ready`, then one line for each request.
 *
 * Run with its configuration, which holds the credentials, on stdin; see
 * `vendor_bed.ts`.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

import { Buffer } from "node:buffer";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { createGitServer } from "./git_server.ts";
import { createNpmRegistry } from "./npm_registry.ts";
import { createCrateRegistry, createPythonIndex } from "./package_indexes.ts";
import { createModelApi, createSteps } from "./streams.ts";
import { byPath, guarded, NOT_FOUND, type Vendor } from "./vendor.ts";

/** The one header with a credential that a place wants. */
export interface VendorCredential {
  /** In lower case. */
  readonly header: string;
  /** All of it. */
  readonly value: string;
}

/**
 * Finds what a place wants.
 *
 * @param credentials By the beginning of places, such as `api.acme.test/v1`.
 * @param place Host and path.
 * @returns The longest one's; undefined for a place that wants none.
 */
export function credentialFor(
  credentials: VendorConfig["credentials"],
  place: string,
): VendorCredential | undefined {
  const fits = Object.keys(credentials).filter((start) =>
    place.startsWith(start)
  );
  const [longest = ""] = fits.sort((a, b) => b.length - a.length);
  return credentials[longest];
}

/** What the server is told. */
export interface VendorConfig {
  /** PEM, for all names. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Has `repositories` and `packages`. */
  readonly directory: string;
  /** By host, or host and path: see {@link credentialFor}. */
  readonly credentials: Readonly<Record<string, VendorCredential>>;
  /** Where STS is in truth, with http; absent: nowhere. */
  readonly sts?: string | undefined;
}

/** One request that a vendor received. */
export interface VendorRequest {
  /** Such as `GET`. */
  readonly method: string;
  /** The name that it was asked under. */
  readonly host: string;
  /** With its query. */
  readonly path: string;
  /** By lower-case name; several of one name are joined. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of the answer. */
  readonly status: number;
}

/** What stands before each request on stdout. */
export const REQUEST = "request ";

/** The registry's place, below a path as with many products. */
export const NPM_URL = "https://npm.acme.test/private/";

/** An API of whatever kind: JSON, echo, events and a WebSocket. */
function createApi(): Vendor {
  const steps = createSteps();
  const json: Vendor = () => Response.json({ answer: "from upstream" });
  return byPath({
    "/json": json,
    "/echo": async (request) => new Response(await request.bytes()),
    "/events": () =>
      steps.stream(["one", "two", "three"].map((data) => `data: ${data}\n\n`)),
    "/next": steps.next,
    "/socket": (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onmessage = ({ data }) => socket.send(`${data}!`);
      return response;
    },
  });
}

const GITHUB_API = byPath({
  "/user": () => Response.json({ login: "acme" }),
  // Of an Enterprise Server, on the host of git.
  "/api/v3/user": () => Response.json({ login: "acme" }),
});

/** Passes requests on as they are, because they are signed with their Host. */
function createStsFront(target: string): Vendor {
  const { hostname, port } = new URL(target);
  return async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = await request.bytes();
    const answer = Promise.withResolvers<Response>();
    const forwarded = httpRequest({
      hostname,
      port,
      path: pathname + search,
      method: request.method,
      headers: Object.fromEntries(request.headers),
    }, async (incoming) => {
      const chunks = await Array.fromAsync(incoming as AsyncIterable<Buffer>);
      const headers = { "content-type": "text/xml" };
      const status = incoming.statusCode ?? 502;
      answer.resolve(
        new Response(Buffer.concat(chunks), { status, headers }),
      );
    });
    forwarded.on("error", answer.reject);
    forwarded.end(body);
    return await answer.promise;
  };
}

async function createVendors(
  { directory, sts }: VendorConfig,
): Promise<Record<string, Vendor>> {
  const packages = join(directory, "packages");
  const git = createGitServer(join(directory, "repositories"));
  const aws = sts === undefined ? NOT_FOUND : createStsFront(sts);
  return {
    "github.com": git,
    "api.github.com": GITHUB_API,
    "git.acme.test": git,
    "npm.acme.test": await createNpmRegistry(NPM_URL, packages),
    "pypi.acme.test": await createPythonIndex(packages),
    "crates.acme.test": await createCrateRegistry(
      "https://crates.acme.test",
      packages,
    ),
    "api.anthropic.com": createModelApi(),
    "api.acme.test": createApi(),
    "sts.amazonaws.com": aws,
    "sts.us-east-1.amazonaws.com": aws,
  };
}

async function main(): Promise<void> {
  const config: VendorConfig = await new Response(Deno.stdin.readable).json();
  const vendors = await createVendors(config);
  const answer: Vendor = (request) => {
    const { hostname, pathname } = new URL(request.url);
    const isApi = pathname.startsWith("/api/v3/");
    const vendor = isApi ? GITHUB_API : vendors[hostname] ?? NOT_FOUND;
    const credential = credentialFor(config.credentials, hostname + pathname);
    return credential
      ? guarded(credential.header, credential.value, vendor)(request)
      : vendor(request);
  };
  Deno.serve({
    hostname: "127.0.0.1",
    port: 443,
    cert: config.cert,
    key: config.key,
    onListen: () => console.log("ready"),
  }, async (request) => {
    const { hostname, pathname, search } = new URL(request.url);
    const response = await answer(request);
    const record: VendorRequest = {
      method: request.method,
      host: hostname,
      path: pathname + search,
      headers: Object.fromEntries(request.headers),
      status: response.status,
    };
    console.log(REQUEST + JSON.stringify(record));
    return response;
  });
}

if (import.meta.main) await main();
