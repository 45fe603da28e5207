/**
 * A moat proxy between a client and upstreams of the test: over real sockets,
 * with a grant whose credential is the canary.
 *
 * @module
 */

import { join } from "node:path";
import { CANARY } from "./canary.ts";
import { type MoatServer, runMoat, startMoat } from "./moat.ts";
import { run } from "./run.ts";
import { Workspace } from "./workspace.ts";

/** A certification authority of the test, for upstreams. */
export interface UpstreamCa {
  /** Its certificate, a file in PEM. */
  readonly path: string;
  /** The same as text. */
  readonly pem: string;
  /** Issues a certificate for names and addresses. */
  issue(
    names: readonly string[],
    options?: { readonly days?: number },
  ): Promise<{ readonly cert: string; readonly key: string }>;
}

/** What openssl is told of a certificate. */
async function openssl(...args: string[]): Promise<void> {
  const { code, stderr } = await run(["openssl", ...args]);
  if (code !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

/**
 * Makes a certification authority.
 *
 * @param workspace Where its files are.
 * @param name Of its files. Default: `upstream-ca`.
 */
export async function makeUpstreamCa(
  workspace: Workspace,
  name = "upstream-ca",
): Promise<UpstreamCa> {
  const directory = workspace.path(name);
  await Deno.mkdir(directory, { recursive: true });
  const at = (file: string) => join(directory, file);
  await openssl(
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
      .split(" "),
    "-subj",
    `/CN=${name}`,
    "-keyout",
    at("ca.key"),
    "-out",
    at("ca.pem"),
  );
  let count = 0;
  return {
    path: at("ca.pem"),
    pem: await Deno.readTextFile(at("ca.pem")),
    async issue(names, { days = 10 } = {}) {
      const file = at(`leaf-${count++}`);
      const kinds = names.map((host) =>
        /^[0-9.]+$|:/.test(host) ? `IP:${host}` : `DNS:${host}`
      );
      await Deno.writeTextFile(
        `${file}.ext`,
        `subjectAltName=${kinds.join(",")}\n`,
      );
      await openssl(
        ..."req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(" "),
        "-subj",
        `/CN=${names[0]}`,
        "-keyout",
        `${file}.key`,
        "-out",
        `${file}.csr`,
      );
      await openssl(
        ..."x509 -req -CAcreateserial".split(" "),
        "-days",
        String(days),
        "-in",
        `${file}.csr`,
        "-CA",
        at("ca.pem"),
        "-CAkey",
        at("ca.key"),
        "-extfile",
        `${file}.ext`,
        "-out",
        `${file}.pem`,
      );
      return {
        cert: await Deno.readTextFile(`${file}.pem`),
        key: await Deno.readTextFile(`${file}.key`),
      };
    },
  };
}

/** One connection that an upstream accepted. */
export type UpstreamHandler = (
  conn: Deno.Conn,
  index: number,
) => Promise<void> | void;

/** An upstream that the test scripts byte by byte. */
export interface RawUpstream extends AsyncDisposable {
  /** Such as `localhost:43210`. */
  readonly authority: string;
  /** Its port. */
  readonly port: number;
  /** How many connections it has accepted. */
  readonly accepted: () => number;
}

/**
 * Starts an upstream on 127.0.0.1.
 *
 * @param handler Serves each connection, which is closed after it.
 * @param tls Certificate and key; absent: plain TCP.
 * @param at Where it listens. Default: any free port of 127.0.0.1.
 */
export function startRawUpstream(
  handler: UpstreamHandler,
  tls?: { readonly cert: string; readonly key: string },
  at?: { readonly hostname: string; readonly port: number },
): RawUpstream {
  const options = at ?? { hostname: "127.0.0.1", port: 0 };
  const listener = tls
    ? Deno.listenTls({ ...options, ...tls, alpnProtocols: ["http/1.1"] })
    : Deno.listen(options);
  const open = new Map<Deno.Conn, Promise<void>>();
  let count = 0;
  const serve = async (conn: Deno.Conn) => {
    try {
      await handler(conn, count++);
    } catch {
      // The proxy went away, as some tests want.
    } finally {
      open.delete(conn);
      try {
        conn.close();
      } catch {
        // The handler closed it.
      }
    }
  };
  const accepting = (async () => {
    for (;;) {
      try {
        const conn = await listener.accept();
        open.set(conn, serve(conn));
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return;
        if (error instanceof Deno.errors.Interrupted) return;
      }
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  return {
    port,
    authority: `${at?.hostname ?? "localhost"}:${port}`,
    accepted: () => count,
    async [Symbol.asyncDispose]() {
      listener.close();
      const ending = [...open.values()];
      for (const conn of open.keys()) {
        try {
          conn.close();
        } catch {
          // It has ended.
        }
      }
      await Promise.all([accepting, ...ending]);
    },
  };
}

/** What {@link openInterceptBed} makes. */
export interface InterceptBedOptions {
  /** Upstreams that the grant is for, such as `localhost:43210`. */
  readonly hosts: readonly string[];
  /** Flags of `moat bind` beside `--grant` and `--allow-private` for each host. */
  readonly bindFlags?: readonly string[];
  /** Flags of `moat proxy` beside `--listen`. */
  readonly proxyFlags?: readonly string[];
  /** Environment of the proxy. */
  readonly env?: Readonly<Record<string, string>>;
  /** The upstreams' root, which the proxy trusts. */
  readonly ca?: UpstreamCa;
  /** The credential. Default: the canary. */
  readonly credential?: string;
  /** Default: a fresh one that is removed with the bed. */
  readonly workspace?: Workspace;
  /** The header of the grant. Default: `authorization` with `Bearer `. */
  readonly inject?: string;
  /** Put before the command line of the proxy. */
  readonly prefix?: readonly string[];
}

/** A proxy with one binding, `client`, of one grant, `testapi`. */
export interface InterceptBed extends AsyncDisposable {
  /** Its files. */
  readonly workspace: Workspace;
  /** The proxy. */
  readonly proxy: MoatServer;
  /** Where it listens. */
  readonly address: Deno.NetAddr;
  /** The token of the binding. */
  readonly token: string;
  /** What its client's environment would be. */
  readonly env: Readonly<Record<string, string>>;
  /** moat's root certificate in PEM. */
  readonly rootPem: string;
  /** What commands of the same user need. */
  readonly moatEnv: Readonly<Record<string, string>>;
  /** Connects to the proxy and sends CONNECT; gives the connection behind its 200. */
  connect(authority: string): Promise<Deno.TcpConn>;
  /** The same with TLS to moat's leaf. */
  connectTls(authority: string): Promise<Deno.TlsConn>;
}

/**
 * Starts a proxy with a binding.
 *
 * @param options Upstreams, policy, trust.
 */
export async function openInterceptBed(
  options: InterceptBedOptions,
): Promise<InterceptBed> {
  const stack = new AsyncDisposableStack();
  const workspace = options.workspace ?? stack.use(await Workspace.open());
  const moatEnv = {
    ...(options.ca && { SSL_CERT_FILE: options.ca.path }),
    ...options.env,
  };
  const call = async (...args: string[]) => {
    const result = await runMoat(args, { workspace, env: moatEnv });
    if (result.code !== 0) {
      throw new Error(`moat ${args.join(" ")}: ${result.stderr}`);
    }
    return result;
  };
  await workspace.write(
    "moat/providers/testapi.toml",
    providerToml(options.hosts, options.inject),
  );
  await Deno.chmod(workspace.moatHome, 0o700);
  await workspace.write("token", options.credential ?? CANARY);
  await call(
    ..."grant testapi --no-validate --token-file".split(" "),
    workspace.path("token"),
  );
  await Deno.remove(workspace.path("token"));
  await call(
    ..."bind client --grant testapi".split(" "),
    ...options.hosts.filter((host) => !host.startsWith("*")).flatMap((host) => [
      "--allow-private",
      host,
    ]),
    ...options.bindFlags ?? [],
  );
  const proxy = stack.use(
    await startMoat(
      ["proxy", "--listen", "127.0.0.1:0", ...options.proxyFlags ?? []],
      { workspace, env: moatEnv, prefix: options.prefix },
    ),
  );
  const { stdout } = await call(..."env client --format json".split(" "));
  const env = environmentOf(JSON.parse(stdout));
  const url = new URL(env["HTTPS_PROXY"] ?? "");
  const token = decodeURIComponent(url.password);
  const { port } = new URL(proxy.urls[0] ?? "");
  const rootPem = (await call("ca", "export")).stdout;
  const address: Deno.NetAddr = {
    transport: "tcp",
    hostname: "127.0.0.1",
    port: Number(port),
  };
  const connect = async (authority: string) => {
    const conn = await Deno.connect({
      hostname: address.hostname,
      port: address.port,
    });
    await writeText(
      conn,
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${
        basic(token)
      }\r\n\r\n`,
    );
    const head = await readHead(conn);
    if (/^HTTP\/1\.1 200 /.test(head)) return conn;
    conn.close();
    throw new Error(`CONNECT ${authority}: ${head}`);
  };
  return {
    workspace,
    proxy,
    address,
    token,
    env,
    rootPem,
    moatEnv,
    connect,
    async connectTls(authority) {
      const conn = await connect(authority);
      return await Deno.startTls(conn, {
        hostname: authority.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1"),
        caCerts: [rootPem],
        alpnProtocols: ["http/1.1"],
      });
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function providerToml(hosts: readonly string[], inject?: string): string {
  return [
    'name = "testapi"',
    'description = "An upstream of the tests"',
    `hosts = ${JSON.stringify(hosts)}`,
    'env = ["TESTAPI_TOKEN"]',
    "",
    inject ?? '[[inject]]\nheader = "authorization"\nprefix = "Bearer "',
    "",
  ].join("\n");
}

/** `moat env --format json` gives variables as an object, alone or as a member. */
function environmentOf(value: Record<string, unknown>): Record<string, string> {
  const inner = value["environment"] ?? value;
  return inner as Record<string, string>;
}

/** The value of Proxy-Authorization. */
export function basic(token: string): string {
  return `Basic ${btoa(`moat:${token}`)}`;
}

/** Writes a text, each character as the byte of the same number. */
export async function writeText(conn: Deno.Conn, text: string): Promise<void> {
  let rest = Uint8Array.from(text, (character) => character.charCodeAt(0));
  while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
}

/** Reads byte by byte to the end of a head, so that what follows is left. */
export async function readHead(conn: Deno.Conn): Promise<string> {
  let head = "";
  const byte = new Uint8Array(1);
  while (!head.endsWith("\r\n\r\n")) {
    if (await conn.read(byte) === null) break;
    head += String.fromCharCode(byte[0] ?? 0);
  }
  return head;
}

/** Reads a head and the body that its Content-Length tells. */
export async function readMessage(
  conn: Deno.Conn,
): Promise<{ readonly head: string; readonly body: string }> {
  const head = await readHead(conn);
  const [, length = "0"] = /^content-length: *(\d+)/im.exec(head) ?? [];
  const bytes = new Uint8Array(Number(length));
  for (let at = 0; at < bytes.length;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return {
    head,
    body: Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""),
  };
}

/** Reads to the end; an error is an end, too. */
export async function readAll(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(64 * 1024);
  let text = "";
  try {
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) break;
      for (const byte of buffer.subarray(0, count)) {
        text += String.fromCharCode(byte);
      }
    }
  } catch {
    // Reset.
  }
  return text;
}
