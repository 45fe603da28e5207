/**
 * A proxy between clients and upstreams that misbehave as a test says, and a
 * look at what the proxy holds open.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { makeCertificate, pkiPath } from "./anywhere_pki.ts";
import { eventually } from "./eventually.ts";
import {
  basic,
  type InterceptBed,
  type InterceptBedOptions,
  openInterceptBed,
  type RawUpstream,
  readMessage,
  startRawUpstream,
  type UpstreamHandler,
  writeText,
} from "./intercept_bed.ts";

const DAY_MS = 24 * 60 * 60_000;

/** How long an answer of a bed may take. */
const PATIENCE_MS = 5_000;

/** Issues the certificates of upstreams that the proxy trusts. */
const AUTHORITY = "fault-upstreams";

/** A server's certificate with its key, as listeners take it. */
export interface Certificate {
  /** The chain in PEM. */
  readonly cert: string;
  /** The key in PEM. */
  readonly key: string;
}

/** What may be wrong with a certificate. */
export interface CertificateFault {
  /** Default: `DNS:localhost`. */
  readonly names?: string;
  /** Whether it ended a day ago. Default: no. */
  readonly isExpired?: boolean;
  /** Whether nobody knows its issuer. Default: no. */
  readonly isStrange?: boolean;
}

/**
 * Makes a certificate for an upstream.
 *
 * @param name Of its files.
 * @param fault Default: none.
 */
export async function certificateOf(
  name: string,
  { names = "DNS:localhost", isExpired, isStrange }: CertificateFault = {},
): Promise<Certificate> {
  const issuer = isStrange ? "fault-strangers" : AUTHORITY;
  await makeCertificate(issuer, { isAuthority: true });
  const now = Date.now();
  await makeCertificate(name, {
    issuer,
    names,
    ...(isExpired && { valid: [now - 2 * DAY_MS, now - DAY_MS] }),
  });
  return {
    cert: await Deno.readTextFile(pkiPath(`${name}.crt`)),
    key: await Deno.readTextFile(pkiPath(`${name}.key`)),
  };
}

/** What the proxy must trust to like {@link certificateOf}. */
export async function trustedRoots(): Promise<string> {
  return await makeCertificate(AUTHORITY, { isAuthority: true });
}

/** An upstream whose behaviour is chosen anew by each test. */
export class ScriptedUpstream implements AsyncDisposable {
  readonly #upstream: RawUpstream;
  #isEnded = false;
  #handler: UpstreamHandler = () => {};
  readonly #open = new Set<Deno.Conn>();
  #count = 0;
  /** All that scripts have read, since the last script. */
  received = "";

  /** Listens; without a certificate, for plain TCP. */
  constructor(tls?: Certificate) {
    this.#upstream = startRawUpstream((conn) => this.#meet(conn), tls);
  }

  /** Such as `localhost:43210`. */
  get authority(): string {
    return this.#upstream.authority;
  }

  /** Its port. */
  get port(): number {
    return this.#upstream.port;
  }

  /** Connections since the last script. */
  get connections(): number {
    return this.#count;
  }

  /** Says what connections meet from now on; each is told its number. */
  script(handler: UpstreamHandler): void {
    this.#handler = handler;
    this.#count = 0;
    this.received = "";
  }

  /** Ends all connections. */
  hangUp(): void {
    this.#open.forEach(closeQuietly);
  }

  async #meet(conn: Deno.Conn): Promise<void> {
    this.#open.add(conn);
    try {
      await this.#handler(conn, this.#count++);
    } finally {
      this.#open.delete(conn);
    }
  }

  /** Reads until `enough`, by default the end of a head, or to the end. */
  async receive(
    conn: Deno.Conn,
    enough: (text: string) => boolean = (text) => text.includes("\r\n\r\n"),
  ): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    for (let text = ""; !enough(text);) {
      const count = await conn.read(buffer);
      if (count === null) return;
      const part = Buffer.from(buffer.subarray(0, count)).toString("latin1");
      text += part;
      this.received += part;
    }
  }

  /** Stops listening, and ends all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    await this.#upstream[Symbol.asyncDispose]();
  }
}

/** Closes with bytes of the other side unread, so that the kernel sends RST. */
export async function reset(conn: Deno.Conn): Promise<void> {
  await conn.read(new Uint8Array(1));
  conn.close();
}

/** Reads to the end of a connection, whatever end it is. */
export async function untilGone(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(16 * 1024);
  try {
    while (await conn.read(buffer) !== null);
  } catch {
    // Reset.
  }
}

/** The text of an answer that leaves nothing open. */
export function answer(body: string, status = "200 OK"): string {
  return `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
}

/** The text of a request. */
export function request(
  authority: string,
  line = "GET /",
  rest = "\r\n",
): string {
  return `${line} HTTP/1.1\r\nHost: ${authority}\r\n${rest}`;
}

/** The field by which a bed's client shows who it is. */
export function proofOf({ token }: Pick<InterceptBed, "token">): string {
  return `Proxy-Authorization: ${basic(token)}\r\n`;
}

/** Sends a request and gives all that comes back. */
export async function ask(
  conn: Deno.Conn,
  text: string,
): Promise<{ readonly head: string; readonly body: string }> {
  await writeText(conn, text);
  return await readMessage(conn);
}

/** Closes what may be closed already. */
export function closeQuietly(conn: { close(): void }): void {
  try {
    conn.close();
  } catch {
    // It is.
  }
}

/**
 * A handler that relays to another upstream, and cuts the connection once a
 * text has passed, without a word of TLS.
 *
 * @param port Of the other one.
 * @param cue Tells when.
 */
export function cutting(port: number, cue: Promise<unknown>): UpstreamHandler {
  return async (conn) => {
    const behind = await Deno.connect({ hostname: "127.0.0.1", port });
    const cut = () => [conn, behind].forEach(closeQuietly);
    const relayed = Promise.allSettled([
      conn.readable.pipeTo(behind.writable),
      behind.readable.pipeTo(conn.writable),
    ]);
    await Promise.race([cue, relayed]);
    cut();
    await relayed;
  };
}

/** How many descriptors a process has open. */
export function descriptorsOf(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

/** What a process holds in memory, in bytes. */
export function residentBytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB/m.exec(status) ?? [];
  return Number(kilobytes) * 1024;
}

/**
 * Waits until a bed's proxy holds open nothing but what it keeps anyway.
 *
 * @param bed The bed.
 * @param timeoutMs Default: 10 s.
 */
export async function descriptorsBack(
  { proxy: { pid }, idleDescriptors: count }: FaultBed,
  timeoutMs?: number,
): Promise<void> {
  try {
    await eventually(
      `at most ${count} descriptors`,
      () => descriptorsOf(pid) <= count,
      timeoutMs,
    );
  } catch (cause) {
    throw new Error(`${descriptorsOf(pid)} descriptors are left`, { cause });
  }
}

/** An {@link InterceptBed} in front of a {@link ScriptedUpstream}. */
export interface FaultBed extends InterceptBed {
  /** Speaks TLS, with a right certificate. */
  readonly upstream: ScriptedUpstream;
  /** How many descriptors the proxy has while it serves nobody: those of its start, and a TLS listener for `localhost`. */
  readonly idleDescriptors: number;
  /** Asks the upstream for `/` on a new connection, and gives the status line. */
  works(): Promise<string>;
}

/**
 * Opens a bed whose grant is for the upstream, and for what `options` name.
 *
 * @param options As of {@link openInterceptBed}.
 */
export async function openFaultBed(
  options: Partial<InterceptBedOptions> = {},
): Promise<FaultBed> {
  await using stack = new AsyncDisposableStack();
  const upstream = stack.use(
    new ScriptedUpstream(await certificateOf("fault-right")),
  );
  const bed = stack.use(
    await openInterceptBed({
      ...options,
      hosts: [upstream.authority, ...options.hosts ?? []],
      env: {
        AWS_EC2_METADATA_DISABLED: "true",
        ...options.env,
        SSL_CERT_FILE: await trustedRoots(),
      },
    }),
  );
  const moved = stack.move();
  return {
    ...bed,
    upstream,
    idleDescriptors: descriptorsOf(bed.proxy.pid) + 1,
    async works() {
      upstream.script(async (conn) => {
        await upstream.receive(conn);
        await writeText(conn, answer("well"));
      });
      const conn = await bed.connectTls(upstream.authority);
      const guard = setTimeout(() => closeQuietly(conn), PATIENCE_MS);
      const { head } = await ask(conn, request(upstream.authority))
        .finally(() => clearTimeout(guard));
      closeQuietly(conn);
      return head.slice(0, head.indexOf("\r\n"));
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
