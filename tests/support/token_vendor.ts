/**
 * A vendor's https server on loopback, whose root a grant has to be told by
 * SSL_CERT_FILE, and the grants that are made there.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type {
  FlagValues,
  GrantRequest,
  Injection,
  Provider,
  ProviderFactory,
  Substitution,
} from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { openssl, pkiPath } from "./anywhere_pki.ts";
import { CANARY } from "./canary.ts";
import { fakePlatform } from "./fake_platform.ts";

/** One request that the vendor saw. */
export interface SeenRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Headers;
}

/** What the vendor answers. */
export interface VendorAnswer {
  /** Default: 200. */
  readonly status?: number;
  /** Default: none. */
  readonly headers?: Record<string, string>;
  /** Default: the request's own credential, so that a leak would show. */
  readonly body?: string | ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** The server; `await using` stops it. */
export interface TokenVendor extends AsyncDisposable {
  /** `localhost:PORT`. */
  readonly host: string;
  /** The root in PEM. */
  readonly rootFile: string;
  /** In order. */
  readonly seen: SeenRequest[];
}

let certificate: Promise<{ cert: string; key: string }> | undefined;

/** Once in a test process: a root, and a leaf for localhost. */
async function makeLeaf() {
  const [root, leaf] = [pkiPath("vendor-root"), pkiPath("vendor")];
  const newKey = [
    ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-x509", "-days", "2"],
  ];
  await openssl(
    ...[...newKey, "-subj", "/CN=vendor root"],
    ...["-keyout", `${root}.key`, "-out", `${root}.crt`],
  );
  await openssl(
    ...[...newKey, "-subj", "/CN=localhost"],
    ...["-keyout", `${leaf}.key`, "-out", `${leaf}.crt`],
    ...["-CA", `${root}.crt`, "-CAkey", `${root}.key`],
    ...["-addext", "subjectAltName=DNS:localhost"],
    ...["-addext", "basicConstraints=critical,CA:FALSE"],
  );
  return {
    cert: await Deno.readTextFile(`${leaf}.crt`),
    key: await Deno.readTextFile(`${leaf}.key`),
  };
}

/**
 * Starts a vendor.
 *
 * @param answer What it answers, each time.
 */
export async function startVendor(
  answer: VendorAnswer | ((request: SeenRequest) => VendorAnswer) = {},
): Promise<TokenVendor> {
  const seen: SeenRequest[] = [];
  const server = Deno.serve({
    ...await (certificate ??= makeLeaf()),
    hostname: "127.0.0.1",
    port: 0,
    onListen() {},
  }, ({ method, url, headers }) => {
    const { pathname, search } = new URL(url);
    const request = { method, path: pathname + search, headers };
    seen.push(request);
    const given = typeof answer === "function" ? answer(request) : answer;
    const echo = [...headers.values()].join("\n");
    const { status = 200 } = given;
    return new Response(status === 204 ? null : given.body ?? echo, {
      status,
      headers: given.headers ?? {},
    });
  });
  return {
    host: `localhost:${server.addr.port}`,
    rootFile: pkiPath("vendor-root.crt"),
    seen,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** How {@link grantWith} grants. */
export interface GrantWish {
  /** The full name. Default: the provider's. */
  readonly name?: string;
  /** Default: none. */
  readonly flags?: FlagValues;
  /** The host's environment. Default: empty. */
  readonly env?: Readonly<Record<string, string>>;
  /** What a person answers. Default: there is nobody. */
  readonly answer?: string;
  /** Where the token is tried. Default: it is not. */
  readonly vendor?: TokenVendor;
}

/**
 * Grants as `moat grant` does.
 *
 * @param create Makes the provider.
 * @param wish What is special.
 * @returns The provider and its grant.
 */
export async function grantWith(
  create: ProviderFactory,
  { name, flags = {}, env = {}, answer, vendor }: GrantWish = {},
): Promise<{ provider: Provider; grant: Grant }> {
  const platform = fakePlatform({
    env: { ...env, ...vendor && { SSL_CERT_FILE: vendor.rootFile } },
  });
  const provider = create(platform);
  const request: GrantRequest = {
    name: name ?? provider.name,
    flags: { ...vendor && { host: vendor.host }, ...flags },
    validate: vendor !== undefined,
    ...answer !== undefined && {
      ask: () => Promise.resolve(new Secret(answer)),
    },
  };
  return { provider, grant: await provider.grant(request) };
}

/** What a provider declared, with values revealed. */
export interface Declared {
  readonly injections: (Omit<Injection, "value"> & { value: string })[];
  readonly substitutions: Substitution[];
  readonly allowed: string[];
}

/**
 * Asks a provider what it does for a grant.
 *
 * @param provider The provider.
 * @param grant Its grant.
 */
export function declaredBy(provider: Provider, grant: Grant): Declared {
  const declared: Declared = { injections: [], substitutions: [], allowed: [] };
  provider.configureProxy({
    inject: (injection) =>
      void declared.injections.push({
        ...injection,
        value: injection.value.reveal(),
      }),
    substitute: (given) => void declared.substitutions.push(given),
    allow: (host) => void declared.allowed.push(host),
  }, grant);
  return declared;
}

/**
 * Asks a provider for the environment of a client.
 *
 * @param provider The provider.
 * @param grant Its grant.
 */
export function environmentOf(
  provider: Provider,
  grant: Grant,
): Record<string, string> {
  return provider.containerEnv(grant, {
    mode: "",
    endpointUrl: "http://127.0.0.1:19080",
  });
}

/** A token of one vendor's form that holds the canary. */
export function canaryToken(prefix: string): string {
  return prefix + CANARY;
}
