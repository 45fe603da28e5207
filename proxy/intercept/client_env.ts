/**
 * The environment of a client whose traffic goes through the intercepting
 * proxy. Pure.
 *
 * **Security:** the token is in the proxy variables, because that is where
 * clients take it from. So their values are never on a command line, and the
 * container engine's own process does not get them either: it would send its
 * own traffic there.
 *
 * `ALL_PROXY` is left out: clients use it for schemes other than http and
 * https, which we do not speak. cargo, git, pip and npm read the common
 * variables.
 *
 * @module
 */

import { holdsToken } from "$core/binding.ts";
import type { Grant } from "$core/grant.ts";
import type { Policy } from "$core/policy.ts";
import type { Container, ProviderRegistry } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { collectDeclared } from "./outbound.ts";
import { trustEnv } from "./trust.ts";
import {
  GIT_COUNT,
  isSameVariable,
  JAVA_OPTIONS,
  type Variables,
} from "../variables.ts";

/**
 * What clients ask themselves, without us: their own loopback, and the
 * link-local addresses of container credentials and instance metadata. Never
 * wider, such as 169.254.0.0/16. IPv6 addresses without brackets, with which
 * httpx does not start.
 */
const DIRECT: readonly string[] = [
  "127.0.0.1",
  "localhost",
  "::1",
  "169.254.170.2",
  "169.254.170.23",
  "169.254.169.254",
  "fd00:ec2::23",
  "fd00:ec2::254",
];

/** What some clients prefer to the variables that we set. */
const PREFERRED: readonly string[] = [
  "ALL_PROXY",
  "WS_PROXY",
  "WSS_PROXY",
  "CARGO_HTTP_PROXY",
  "PIP_PROXY",
  "NIX_SSL_CERT_FILE",
];

/**
 * Tells whether the traffic of a binding's client goes through us.
 *
 * @param registry All providers.
 * @param grants The binding's grants.
 * @param policy The policy that a person gave it, if one did.
 * @returns Whether it does: some grant has to be injected, or a policy says
 * where it may go.
 */
export function isIntercepted(
  registry: ProviderRegistry,
  grants: readonly Grant[],
  policy: Policy | undefined,
): boolean {
  return policy !== undefined || grants.some((grant) => {
    const provider = registry.get(grant.provider);
    const { injections, substitutions } = collectDeclared(
      grant.name,
      (registrar) => provider.configureProxy(registrar, grant),
    );
    return injections.length + substitutions.length > 0;
  });
}

/**
 * Makes the variables that lead a client to the proxy and let it trust us.
 *
 * @param registry All providers, whose tools may have variables of their own.
 * @param container Where it finds us, and its files.
 * @param token Its token, or what stands for it.
 * @returns Variables, some of which hold the token.
 */
export function interceptEnv(
  registry: ProviderRegistry,
  { endpointUrl, directory = "" }: Pick<Container, "endpointUrl" | "directory">,
  token: Secret,
): Record<string, string> {
  const { protocol, hostname } = new URL(endpointUrl);
  const port = proxyPort(endpointUrl);
  const password = encodeURIComponent(token.reveal());
  const proxy = `${protocol}//moat:${password}@${hostname}:${port}`;
  const bare = hostname.replace(/^\[(.*)\]$/, "$1");
  const direct = [...new Set([...DIRECT, bare])];
  const vendors = registry.all.flatMap(({ trustVariables = [] }) =>
    trustVariables
  );
  const trust = trustEnv(directory, vendors);
  return {
    HTTPS_PROXY: proxy,
    https_proxy: proxy,
    HTTP_PROXY: proxy,
    // curl reads no other, because CGI programs have HTTP_PROXY from clients.
    http_proxy: proxy,
    NO_PROXY: direct.join(),
    no_proxy: direct.join(),
    ...trust,
    [JAVA_OPTIONS]: [trust[JAVA_OPTIONS], ...javaOptions(bare, port, direct)]
      .join(" "),
  };
}

/** Always written: clients differ in the port that they take by default. */
function proxyPort(url: string): string {
  const { protocol, port } = new URL(url);
  return port || (protocol === "https:" ? "443" : "80");
}

/**
 * Java knows no user and password of a proxy, only an Authenticator in the
 * program; and no Basic on the way to an https host until it is told to. The
 * token is not among the options, because Java prints them on stderr.
 *
 * @see {@link https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/net/doc-files/net-properties.html | Networking Properties}
 */
function javaOptions(
  host: string,
  port: string,
  direct: readonly string[],
): string[] {
  const names = direct.map((name) => name.includes(":") ? `[${name}]` : name);
  return [
    ...["https", "http"].flatMap((scheme) => [
      `-D${scheme}.proxyHost=${host}`,
      `-D${scheme}.proxyPort=${port}`,
    ]),
    `-Dhttp.nonProxyHosts=${names.join("|")}`,
    "-Djdk.http.auth.tunneling.disabledSchemes=",
  ];
}

/**
 * Tells whether an environment is that of an intercepted client.
 *
 * @param environment What its binding gives it.
 */
export function isOfIntercepted(environment: Variables): boolean {
  return holdsToken(environment["HTTPS_PROXY"] ?? "");
}

/**
 * Names what would lead an intercepted client past us, or take its trust.
 *
 * @param registry All providers.
 * @param environment What its binding gives it.
 * @returns Names of variables, see {@link isSameVariable}; none for a client
 * that is not intercepted.
 */
export function interceptConflicts(
  registry: ProviderRegistry,
  environment: Variables,
): readonly string[] {
  if (!isOfIntercepted(environment)) return [];
  const anywhere = { endpointUrl: "http://moat" };
  const own = interceptEnv(registry, anywhere, new Secret(""));
  const names = [...Object.keys(own), ...PREFERRED];
  // The spelling that comes first stands for all.
  const distinct = names.filter((name, at) =>
    names.findIndex((other) => isSameVariable(other, name)) === at
  );
  return Object.hasOwn(environment, GIT_COUNT)
    ? [...distinct, GIT_COUNT]
    : distinct;
}
