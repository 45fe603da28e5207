/**
 * Why a request of a client was not forwarded, as the client is told.
 *
 * @module
 */

/** Words of RFC 9209 section 2.3 for the `error` of Proxy-Status. */
export type ProxyError =
  | "dns_timeout"
  | "dns_error"
  | "destination_not_found"
  | "destination_unavailable"
  | "destination_ip_prohibited"
  | "destination_ip_unroutable"
  | "connection_refused"
  | "connection_terminated"
  | "connection_timeout"
  | "connection_read_timeout"
  | "connection_limit_reached"
  | "tls_protocol_error"
  | "tls_certificate_error"
  | "tls_alert_received"
  | "http_request_error"
  | "http_request_denied"
  | "http_response_incomplete"
  | "http_protocol_error"
  | "http_upgrade_failed"
  | "proxy_internal_error"
  | "proxy_configuration_error"
  | "proxy_loop_detected";

/** A request that is not forwarded, or whose answer cannot be had. */
export class ProxyFailure extends Error {
  /** What stack traces show. */
  override readonly name = "ProxyFailure";
  /** HTTP status code. */
  readonly status: number;
  /** A kebab-case word for the body. */
  readonly code: string;
  /** For Proxy-Status. */
  readonly error: ProxyError;

  /**
   * Makes a failure.
   *
   * @param status HTTP status code, 400 to 599.
   * @param code Kebab-case, such as `policy-denied`.
   * @param error A word of RFC 9209.
   * @param message One sentence that the client sees: no secret, path of ours, or configuration.
   */
  constructor(
    status: number,
    code: string,
    error: ProxyError,
    message: string,
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.error = error;
  }
}
