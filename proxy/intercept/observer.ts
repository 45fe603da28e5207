/**
 * What the forward proxy tells of its work: trace, metrics, audit log, and a
 * warning for the person whose client cannot go on.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import type { TraceRecord, TraceSink } from "./trace_record.ts";
import type { ProxyFailure } from "./failure.ts";

/** How often repeated injections and denials are told, with their number. */
const REPEAT_MS = 60_000;

/** More kinds than these are counted together: a client chooses host names. */
const MAX_KINDS = 1_000;

/** What an observer tells, and to whom. */
export interface ObserverOptions {
  /** Clock, log, metrics, audit log. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics" | "audit">;
  /** Where records go. */
  readonly trace: TraceSink;
  /** Tells the person who keeps a binding alive. */
  readonly notify: (binding: string, notice: MoatError) => void;
}

interface Repeat {
  readonly event: string;
  readonly fields: Readonly<Record<string, string>>;
  count: number;
}

/** Tells of the forward proxy's work. */
export class Observer {
  readonly #options: ObserverOptions;
  readonly #repeats = new Map<string, Repeat>();
  readonly #warned = new Set<string>();
  #cancelTimer: (() => void) | undefined;

  /** Makes an observer. */
  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  /** Tells of a request that was decided about. */
  record(record: TraceRecord): void {
    const { trace, platform: { metrics } } = this.#options;
    trace.record(record);
    if (record.failure === TOO_MANY && !this.#warned.has(TOO_MANY)) {
      this.#warned.add(TOO_MANY);
      this.#options.platform.log.warn(TOO_MANY, { hint: "raise ulimit -n" });
    }
    const { kind, decision, status, binding, host } = record;
    const result = status === undefined
      ? "none"
      : `${Math.floor(status / 100)}xx`;
    metrics.count("proxy_requests_total", { kind, decision, result });
    if (kind !== "tunnel") {
      metrics.observe("proxy_request_seconds", record.totalMs / 1000, { kind });
    }
    if (decision === "deny") {
      metrics.count("proxy_denials_total", { kind });
      this.#audit("denied", { binding, host, rule: record.rule });
    }
    for (const grant of record.grants) {
      metrics.count("proxy_injections_total", { grant });
      this.#audit("injected", { binding, host, grant });
    }
  }

  /** Tells of a request without a token that counts. */
  unknown(): void {
    this.#options.platform.metrics.count("proxy_unauthenticated_total");
  }

  /** Tells of TLS with a client that did not come about. */
  tlsFailed(binding: string, host: string, { code }: ProxyFailure): void {
    const { platform: { log, metrics }, notify } = this.#options;
    metrics.count("proxy_tls_failures_total", { cause: code });
    const key = `${binding} ${host} ${code}`;
    if (this.#warned.has(key) || this.#warned.size >= MAX_KINDS) return;
    this.#warned.add(key);
    log.warn("client-tls-failed", { binding, host, code });
    if (!TOLD.includes(code)) return;
    notify(binding, distrusted(host, code));
  }

  /** Writes the numbers of what was repeated, and ends. */
  close(): void {
    this.#cancelTimer?.();
    this.#tellRepeats();
  }

  /** The first of a kind is an event of its own; repeats are counted. */
  #audit(event: string, fields: Readonly<Record<string, string>>): void {
    const key = [event, ...Object.values(fields)].join(" ");
    const known = this.#repeats.get(key);
    if (known) {
      known.count++;
      return;
    }
    if (this.#repeats.size >= MAX_KINDS) return this.#countFurther(event);
    this.#repeats.set(key, { event, fields, count: 0 });
    this.#options.platform.audit.recordSoon(event, fields);
    this.#cancelTimer ??= this.#options.platform.clock.after(REPEAT_MS, () => {
      this.#cancelTimer = undefined;
      this.#tellRepeats();
    });
  }

  /** Host names that a client makes up must not fill the audit log. */
  #countFurther(event: string): void {
    const known = this.#repeats.get(event);
    if (known) known.count++;
    else this.#repeats.set(event, { event, fields: {}, count: 1 });
  }

  #tellRepeats(): void {
    const { audit } = this.#options.platform;
    for (const { event, fields, count } of this.#repeats.values()) {
      if (count > 0) audit.recordSoon(`${event}-again`, { ...fields, count });
    }
    this.#repeats.clear();
  }
}

const TOO_MANY = "too-many-connections";

/** What the person who started the client can do something about. */
const TOLD = [
  "client-rejected-certificate",
  // Some end without saying why.
  "client-closed-handshake",
  "client-needs-h2",
];

/** What a client that does not go on needs. */
function distrusted(host: string, code: string): MoatError {
  return code === "client-needs-h2"
    ? new MoatError(
      code,
      `A client speaks nothing but HTTP/2 to ${host}, which moat does not yet read`,
      {
        hint:
          `let it pass unread, by a binding whose grants are not for ${host}`,
      },
    )
    : new MoatError(
      "client-rejected-certificate",
      `A client does not trust moat's certificate for ${host}${
        code === "client-closed-handshake" ? ", or went away" : ""
      }`,
      {
        hint:
          "its program may need a setting of its own; SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE, GIT_SSL_CAINFO and others are set to moat's bundle, see docs/certificates.md",
      },
    );
}
