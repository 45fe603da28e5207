/**
 * TLS towards upstreams: who they are is verified on the very connection that
 * a request then uses, and why not is told in one sentence.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { type Authority, formatAuthority } from "$core/host.ts";
import { type ProxyError, ProxyFailure } from "./failure.ts";
import type { UpstreamRoots } from "./upstream_roots.ts";

/** A handshake takes two round trips. */
const HANDSHAKE_MS = 10_000;

/** Why there is no TLS, as the client is told. */
type Cause = readonly [
  code: string,
  error: ProxyError,
  why: string,
];

const TIMEOUT: Cause = [
  "upstream-tls-timeout",
  "connection_timeout",
  "the TLS handshake took too long",
];

function certificateCause(why: string): Cause {
  return ["upstream-certificate", "tls_certificate_error", why];
}

/** What the runtime's TLS library says, and what that means; the first counts: a name in it may be anything. */
const CAUSES: readonly (readonly [RegExp, Cause])[] = [
  [/alert: NoApplicationProtocol/, [
    "upstream-needs-h2",
    "tls_alert_received",
    "it does not speak HTTP/1.1, which is what moat reads",
  ]],
  [/alert: CertificateRequired/, [
    "upstream-tls",
    "tls_alert_received",
    "it wants a certificate of its client",
  ]],
  [/alert: ProtocolVersion/, [
    "upstream-tls",
    "tls_alert_received",
    "it does not speak TLS 1.2 or newer",
  ]],
  [/received fatal alert/, [
    "upstream-tls",
    "tls_alert_received",
    "it refused the TLS handshake",
  ]],
  [
    /not valid for name|NotValidForName/,
    certificateCause("its certificate is for another name"),
  ],
  [
    /UnknownIssuer/,
    certificateCause(
      "its certificate was issued by an authority that moat does not trust",
    ),
  ],
  [/CaUsedAsEndEntity/, certificateCause("its certificate is self-signed")],
  [/expired/i, certificateCause("its certificate has expired")],
  [/not ?valid ?yet/i, certificateCause("its certificate is not valid yet")],
  [/Revoked/, certificateCause("its certificate was revoked")],
  [/peer certificate/, certificateCause("its certificate is not valid")],
];

const FAILED: Cause = [
  "upstream-tls",
  "tls_protocol_error",
  "the TLS handshake failed",
];

/** What {@link secureUpstream} needs. */
export interface UpstreamTlsOptions {
  /** Whom to trust besides whom the runtime trusts. */
  readonly roots: Pick<UpstreamRoots, "certificates">;
  /** Whose time passes. */
  readonly clock: Clock;
}

/**
 * Makes TLS (1.2 or newer, for HTTP/1.1) of a connection, and closes it if it
 * cannot.
 *
 * **Security:** resolves only when the upstream has proved to be `authority`;
 * nothing may be written before.
 *
 * @param conn Connected to a checked address of the upstream.
 * @param authority Who must be there; an address needs to be in the certificate, too.
 * @param options Roots and clock.
 * @param signal Aborted when the client has gone: rejects with its reason.
 * @returns The secured connection.
 * @throws {ProxyFailure} `upstream-certificate`, `upstream-needs-h2`,
 * `upstream-tls`; `upstream-tls-timeout` after 10 s.
 */
export async function secureUpstream(
  conn: Deno.TcpConn,
  authority: Authority,
  { roots, clock }: UpstreamTlsOptions,
  signal?: AbortSignal,
): Promise<Deno.TlsConn> {
  const tls = await startTls(conn, authority, roots.certificates);
  let end: { readonly reason: unknown } | undefined;
  const stop = (reason: unknown) => {
    end ??= { reason };
    closeQuietly(tls);
  };
  const cancel = clock.after(
    HANDSHAKE_MS,
    () => stop(tlsFailure(authority, TIMEOUT)),
  );
  const leave = () => stop(signal?.reason);
  signal?.addEventListener("abort", leave);
  try {
    if (signal?.aborted) leave();
    await tls.handshake();
  } catch (error) {
    stop(tlsFailure(authority, causeOf(error)));
  } finally {
    cancel();
    signal?.removeEventListener("abort", leave);
  }
  if (end) throw end.reason;
  return tls;
}

async function startTls(
  conn: Deno.TcpConn,
  authority: Authority,
  certificates: string[],
): Promise<Deno.TlsConn> {
  try {
    return await Deno.startTls(conn, {
      hostname: authority.host,
      caCerts: certificates,
      alpnProtocols: ["http/1.1"],
    });
  } catch (error) {
    closeQuietly(conn);
    throw tlsFailure(authority, causeOf(error));
  }
}

function causeOf(error: unknown): Cause {
  const text = error instanceof Error ? error.message : "";
  return CAUSES.find(([pattern]) => pattern.test(text))?.[1] ?? FAILED;
}

function tlsFailure(
  authority: Authority,
  [code, error, why]: Cause,
): ProxyFailure {
  return new ProxyFailure(
    error === "connection_timeout" ? 504 : 502,
    code,
    error,
    `Cannot connect to "${formatAuthority(authority)}": ${why}`,
  );
}

/** The runtime closes some by itself. */
function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // It is closed.
  }
}
