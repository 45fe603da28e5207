/**
 * What is recorded of each request that the proxy decided about. It has no
 * place for a header, a body or a query, so that no secret can be in it.
 *
 * @module
 */

/** One request, or one tunnel. */
export interface TraceRecord {
  /** When it began, in ms since the Unix epoch. */
  readonly time: number;
  /** Whose client sent it. */
  readonly binding: string;
  /** `http`, `https`, or `tunnel` for bytes that were not read. */
  readonly kind: "http" | "https" | "tunnel";
  /** Such as `GET`; `CONNECT` of a tunnel, or of an https request that was denied before it was read. */
  readonly method: string;
  /** Canonical, with port unless it is the scheme's own. */
  readonly host: string;
  /** Without query and substitutions; absent for CONNECT. */
  readonly path?: string;
  /** What the client was answered; absent if it went before. */
  readonly status?: number;
  /** What moat said no with, or what failed, such as `policy-denied`. */
  readonly failure?: string;
  /** `allow` or `deny`. */
  readonly decision: "allow" | "deny";
  /** Which rule, see `Decision.rule`. */
  readonly rule: string;
  /** Grants that were injected, by full name. */
  readonly grants: readonly string[];
  /** Bytes of the body that the client sent; of a tunnel, all bytes. */
  readonly sent: number;
  /** Bytes of the body that it was answered. */
  readonly received: number;
  /** Until the upstream's head was there, in ms; absent if none came. */
  readonly firstByteMs?: number;
  /** Until everything was done, in ms. */
  readonly totalMs: number;
}

/** Takes records; never throws, never waits. */
export interface TraceSink {
  /** Takes one. */
  record(record: TraceRecord): void;
}
