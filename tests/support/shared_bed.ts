/**
 * One proxy for all tests of a file, and an upstream of its own for each.
 *
 * The upstreams are at addresses of 127.0.0.0/8 that nobody else has, all at
 * one port: so each test can open its own listener, and leak checks stay on.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  basic,
  type InterceptBed,
  type InterceptBedOptions,
  makeUpstreamCa,
  openInterceptBed,
  type UpstreamCa,
  writeText,
} from "./intercept_bed.ts";
import { runMoat } from "./moat.ts";
import type { RunResult } from "./run.ts";
import {
  type ScriptedOptions,
  type ScriptedUpstream,
  startScripted,
} from "./scripted_upstream.ts";
import { Workspace } from "./workspace.ts";

/** What the addresses of a file are for. */
export interface SharedBedOptions
  extends Omit<InterceptBedOptions, "hosts" | "ca" | "bindFlags"> {
  /** How many addresses the grant is for. */
  readonly count: number;
  /** Told all addresses, also some that the grant is not for. */
  readonly bindFlags?: (addresses: Addresses) => readonly string[];
  /** Done before anything is granted. */
  readonly prepare?: (
    workspace: Workspace,
    addresses: Addresses,
  ) => Promise<void>;
}

/** Authorities for upstreams. */
export interface Addresses {
  /** The grant is for them. */
  readonly granted: readonly string[];
  /** It is not. */
  readonly others: readonly string[];
}

/** How a connection ended, and what came before. */
export interface Heard {
  /** All bytes, each as the character of the same number. */
  readonly text: string;
  /** `clean`: the other side said so; `cut`: it broke off; `late`: it did not end. */
  readonly end: "clean" | "cut" | "late";
}

/** How long a test waits for the end of a connection. */
const PATIENCE_MS = 8_000;

const OTHERS = 4;

/** A proxy that lives as long as its test file. */
export class SharedBed implements Addresses {
  /** The proxy with its first binding, `client`. */
  readonly bed: InterceptBed;
  /** Issues certificates that the proxy trusts. */
  readonly ca: UpstreamCa;
  /** Names all addresses and localhost. */
  readonly leaf: { readonly cert: string; readonly key: string };
  /** The grant is for them. */
  readonly granted: readonly string[];
  /** It is not. */
  readonly others: readonly string[];
  #next = 0;

  private constructor(
    bed: InterceptBed,
    ca: UpstreamCa,
    leaf: { readonly cert: string; readonly key: string },
    { granted, others }: Addresses,
  ) {
    this.bed = bed;
    this.ca = ca;
    this.leaf = leaf;
    this.granted = granted;
    this.others = others;
  }

  /**
   * Opens one, which is removed when the process of the test file ends.
   *
   * @param options What it is like.
   */
  static async open(options: SharedBedOptions): Promise<SharedBed> {
    const workspace = options.workspace ?? await Workspace.open();
    const running: { pid?: number } = {};
    addEventListener("unload", () => {
      if (running.pid) Deno.kill(running.pid, "SIGKILL");
      Deno.removeSync(workspace.directory, { recursive: true });
    });
    const authorities = freeAuthorities(options.count + OTHERS);
    const addresses = {
      granted: authorities.slice(0, options.count),
      others: authorities.slice(options.count),
    };
    const ca = await makeUpstreamCa(workspace);
    const names = authorities.map((authority) => authority.split(":")[0] ?? "");
    const leaf = await ca.issue([...names, "localhost"]);
    await options.prepare?.(workspace, addresses);
    const bed = await openInterceptBed({
      ...options,
      workspace,
      ca,
      hosts: addresses.granted,
      bindFlags: options.bindFlags?.(addresses) ?? [],
    });
    running.pid = bed.proxy.pid;
    bed.proxy.ended().then(() => delete running.pid);
    return new SharedBed(bed, ca, leaf, addresses);
  }

  /** The next address of the grant; none is used twice in a row. */
  nextAuthority(): string {
    const at = this.#next++ % this.granted.length;
    return this.granted[at] ?? "";
  }

  /** Starts an upstream. Default: with TLS, at the next address. */
  upstream(options: Partial<ScriptedOptions> = {}): ScriptedUpstream {
    return startScripted({
      authority: this.nextAuthority(),
      tls: this.leaf,
      ...options,
    });
  }

  /** Connects to the proxy itself. */
  dial(): Promise<Deno.TcpConn> {
    const { hostname, port } = this.bed.address;
    return Deno.connect({ hostname, port });
  }

  /** Sends raw bytes through CONNECT and TLS, and reads to the end. */
  async talk(authority: string, raw: string): Promise<Heard> {
    const conn = await this.bed.connectTls(authority);
    return await talkOn(conn, raw);
  }

  /** Sends raw bytes to the proxy itself, and reads to the end. */
  async talkPlain(raw: string): Promise<Heard> {
    return await talkOn(await this.dial(), raw);
  }

  /** The value of Proxy-Authorization. */
  get authorization(): string {
    return basic(this.bed.token);
  }

  /** Runs a moat of the same user. */
  async moat(...args: string[]): Promise<RunResult> {
    const { workspace, moatEnv } = this.bed;
    return await runMoat(args, { workspace, env: moatEnv });
  }

  /** Makes a further binding, or an existing one anew. Gives its token. */
  async bind(name: string, ...flags: string[]): Promise<string> {
    const bound = await this.moat("bind", name, ...flags);
    assert.equal(bound.code, 0, bound.stderr);
    const { stdout } = await this.moat("env", name, "--format", "json");
    const value = JSON.parse(stdout);
    const url = new URL((value.environment ?? value).HTTPS_PROXY);
    return decodeURIComponent(url.password);
  }
}

/** Sends, reads to the end, and closes. */
export async function talkOn(conn: Deno.Conn, raw: string): Promise<Heard> {
  let isLate = false;
  const guard = setTimeout(() => {
    isLate = true;
    conn.close();
  }, PATIENCE_MS);
  try {
    // It may be refused before all is sent.
    await writeText(conn, raw).catch(() => {});
    const heard = await hear(conn);
    return isLate ? { ...heard, end: "late" } : heard;
  } finally {
    clearTimeout(guard);
    if (!isLate) conn.close();
  }
}

/** Reads to the end. */
export async function hear(conn: Deno.Conn): Promise<Heard> {
  const buffer = new Uint8Array(64 * 1024);
  const parts: string[] = [];
  try {
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) return { text: parts.join(""), end: "clean" };
      parts.push(latin1(buffer.subarray(0, count)));
    }
  } catch {
    return { text: parts.join(""), end: "cut" };
  }
}

/** Reads until a text is there, or the connection ends. */
export async function hearUntil(
  conn: Deno.Conn,
  wanted: string,
): Promise<string> {
  const buffer = new Uint8Array(64 * 1024);
  let text = "";
  while (!text.includes(wanted)) {
    const count = await conn.read(buffer);
    if (count === null) break;
    text += latin1(buffer.subarray(0, count));
  }
  return text;
}

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/** The statuses of all answers in what was heard. */
export function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.[01] ([0-9]{3})[ \r]/g)]
    .map(([, status]) => Number(status));
}

/** The word that a refusal of moat's is about, such as `policy-denied`. */
export function codeIn(text: string): string | undefined {
  return /"code":"([a-z0-9-]+)"/.exec(text)?.[1];
}

/** A network of its own for each process, and a port that is free there. */
function freeAuthorities(count: number): string[] {
  const [a = 0, b = 0] = crypto.getRandomValues(new Uint8Array(2));
  const host = (index: number) => `127.${64 + a % 64}.${b}.${index + 1}`;
  using listener = Deno.listen({ hostname: host(0), port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  return Array.from({ length: count }, (_, index) => `${host(index)}:${port}`);
}
