/**
 * Why TLS with a client did not come about: the alerts that we send, and what
 * the runtime says about the client's.
 *
 * @module
 */

import { ProxyFailure } from "./failure.ts";

/**
 * Alerts that we send ourselves.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8446.html#section-6 | RFC 8446 section 6}
 */
export const ALERT = { unrecognizedName: 112, noApplicationProtocol: 120 };

/** Alerts by which a client says that it does not take the certificate, in the runtime's spelling and the RFC's. */
const REJECTIONS: ReadonlyMap<string, string> = new Map([
  ["BadCertificate", "bad_certificate"],
  ["UnsupportedCertificate", "unsupported_certificate"],
  ["CertificateRevoked", "certificate_revoked"],
  ["CertificateExpired", "certificate_expired"],
  ["CertificateUnknown", "certificate_unknown"],
  ["UnknownCA", "unknown_ca"],
  ["AccessDenied", "access_denied"],
  ["BadCertificateStatusResponse", "bad_certificate_status_response"],
]);

/** The client is gone. */
const GONE = [
  Deno.errors.UnexpectedEof,
  Deno.errors.ConnectionReset,
  Deno.errors.ConnectionAborted,
  Deno.errors.BrokenPipe,
];

/**
 * Writes a fatal alert, as it is before any key is in use.
 *
 * @param alert See {@link ALERT}.
 */
export function alertRecord(alert: number): Uint8Array {
  return Uint8Array.of(21, 3, 3, 0, 2, 2, alert);
}

/**
 * Tells why TLS failed.
 *
 * @param error What the runtime threw.
 * @returns `client-rejected-certificate` with the alert's name in the message,
 * `client-closed-handshake`, or `tls-failed`; anything that has nothing to do
 * with TLS as it is.
 */
export function tlsFailure(error: unknown): unknown {
  const isGone = GONE.some((kind) => error instanceof kind);
  if (isGone) return closedHandshake();
  if (!(error instanceof Deno.errors.InvalidData)) return error;
  const [, alert = ""] = /received fatal alert: (\w+)/.exec(error.message) ??
    [];
  const rejection = REJECTIONS.get(alert);
  return rejection === undefined
    ? new ProxyFailure(
      400,
      "tls-failed",
      "tls_protocol_error",
      `Cannot intercept: the TLS handshake failed (${error.message})`,
    )
    : new ProxyFailure(
      400,
      "client-rejected-certificate",
      "tls_alert_received",
      `Cannot intercept: the client rejected the certificate (TLS alert ${rejection})`,
    );
}

/** Makes the failure for a client that left without a word. */
export function closedHandshake(): ProxyFailure {
  return new ProxyFailure(
    400,
    "client-closed-handshake",
    "connection_terminated",
    "Cannot intercept: the client closed the connection during the TLS handshake",
  );
}

/** Makes the failure for a client that names another host (SNI). */
export function otherName(): ProxyFailure {
  return new ProxyFailure(
    421,
    "sni-mismatch",
    "tls_alert_received",
    "Cannot intercept: the TLS handshake names another host than CONNECT",
  );
}

/** Makes the failure for a client that does not speak TLS. */
export function notTls(): ProxyFailure {
  return new ProxyFailure(
    400,
    "not-tls",
    "tls_protocol_error",
    "Cannot intercept: wanted a TLS handshake, found something else",
  );
}

/** Makes the failure for a client that offers h2 and not HTTP/1.1. */
export function needsHttp2(): ProxyFailure {
  return new ProxyFailure(
    400,
    "client-needs-h2",
    "tls_protocol_error",
    "Cannot intercept: the client speaks HTTP/2 only, wanted HTTP/1.1",
  );
}

/** Makes the failure for a client that offers neither. */
export function noCommonProtocol(): ProxyFailure {
  return new ProxyFailure(
    400,
    "no-common-protocol",
    "tls_protocol_error",
    "Cannot intercept: the client offers other protocols (ALPN), wanted HTTP/1.1",
  );
}

/** Makes the failure for a client that does not get ready. */
export function tookTooLong(): ProxyFailure {
  return new ProxyFailure(
    408,
    "tls-handshake-timeout",
    "connection_read_timeout",
    "Cannot intercept: the TLS handshake took longer than 10 s",
  );
}
