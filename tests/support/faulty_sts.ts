/**
 * A mock of STS that misbehaves on purpose, down to single bytes. It checks
 * nothing: what our requests are worth to a real STS is tested against moto.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** How the mock treats a request. */
export interface Behaviour {
  /** Default: 200. */
  readonly status?: number;
  /** Default: `text/xml`. */
  readonly contentType?: string;
  readonly body?: string;
  /**
   * `answer` sends all of it; `hang` nothing, and holds the connection;
   * `stall` half of it, and holds the connection; `cut` half of it, and
   * closes; `close` nothing, and closes. Default: `answer`.
   */
  readonly manner?: "answer" | "hang" | "stall" | "cut" | "close";
}

/** A certificate and its key, in PEM. */
export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
}

/** The running mock; `await using` stops it. */
export interface FaultySts extends AsyncDisposable {
  /** Such as `http://127.0.0.1:40009`. */
  readonly url: string;
  /** The form of each request so far. */
  readonly requests: readonly URLSearchParams[];
}

/**
 * Starts the mock.
 *
 * @param behaviour How it treats a request, given how many came before it.
 * @param tls Makes it speak https. Default: http.
 * @returns The running mock.
 */
export function startFaultySts(
  behaviour:
    | Behaviour
    | ((before: number) => Behaviour | Promise<Behaviour>),
  tls?: TlsIdentity,
): FaultySts {
  const address = { hostname: "127.0.0.1", port: 0 };
  const listener = tls
    ? Deno.listenTls({ ...address, ...tls })
    : Deno.listen(address);
  const requests: URLSearchParams[] = [];
  const open = new Set<Deno.Conn>();
  const serve = async (conn: Deno.Conn) => {
    open.add(conn);
    const before = requests.length;
    const how = typeof behaviour === "function" ? behaviour(before) : behaviour;
    try {
      requests.push(new URLSearchParams(await readBody(conn)));
      if (await misbehave(conn, await how)) return;
    } catch {
      // The client went away, or does not trust our certificate.
    }
    open.delete(conn);
    close(conn);
  };
  const serving = acceptAll(listener, serve);
  const { port } = listener.addr as Deno.NetAddr;
  return {
    url: `${tls ? "https" : "http"}://127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
      open.forEach(close);
    },
  };
}

/** Until the listener is closed, and the last connection is done with. */
async function acceptAll(
  listener: Deno.Listener,
  serve: (conn: Deno.Conn) => Promise<void>,
): Promise<void> {
  try {
    for await (const conn of listener) serve(conn);
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** Reads one request and gives its body; an early end is an error. */
async function readBody(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(16 * 1024);
  let text = "";
  for (;;) {
    const head = text.indexOf("\r\n\r\n");
    const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(text)?.[1] ?? "0";
    if (head >= 0 && text.length >= head + 4 + Number(length)) {
      return text.slice(head + 4);
    }
    const count = await conn.read(buffer);
    if (count === null) throw new Error("no whole request");
    text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
  }
}

/** Whether the connection is to stay open. */
async function misbehave(conn: Deno.Conn, how: Behaviour): Promise<boolean> {
  const { status = 200, contentType = "text/xml", body = "" } = how;
  const { manner = "answer" } = how;
  if (manner === "close") return false;
  if (manner === "hang") return true;
  const bytes = new TextEncoder().encode(body);
  const head = [
    `HTTP/1.1 ${status} Mock`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${bytes.length}`,
    "Connection: close",
    "\r\n",
  ].join("\r\n");
  await write(conn, new TextEncoder().encode(head));
  const part = manner === "answer" ? bytes.length : bytes.length >> 1;
  await write(conn, bytes.subarray(0, part));
  return manner === "stall";
}

async function write(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) {
    rest = rest.subarray(await conn.write(rest));
  }
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // It is closed already.
  }
}

/** What of a session is to differ from a good one's. */
export interface SessionParts {
  /** RFC 3339. Default: in an hour. */
  readonly expiration?: string;
  /** Default: a text that is no secret. */
  readonly secretAccessKey?: string;
}

/** A session, as STS answers AssumeRole. */
export function session(parts: SessionParts = {}): Behaviour {
  const expiration = parts.expiration ??
    new Date(Date.now() + 3_600_000).toISOString();
  return assumeRoleAnswer(`<Credentials>
      <AccessKeyId>ASIAMOCKMOCKMOCKMOCK</AccessKeyId>
      <SecretAccessKey>${parts.secretAccessKey ?? "mock"}</SecretAccessKey>
      <SessionToken>mock-session-token</SessionToken>
      <Expiration>${expiration}</Expiration>
    </Credentials>`);
}

/** An answer to AssumeRole, around any XML in place of the session. */
export function assumeRoleAnswer(credentials: string): Behaviour {
  return {
    body:
      `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    ${credentials}
    <AssumedRoleUser>
      <AssumedRoleId>AROAMOCKMOCKMOCKMOCK1:mock</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/Deploy/mock</Arn>
    </AssumedRoleUser>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>00000000-0000-4000-8000-000000000000</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>`,
  };
}

/**
 * An error, as STS writes it.
 *
 * @param status HTTP status code.
 * @param code Such as `AccessDenied`.
 * @param message STS's sentence.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html | Common errors}
 */
export function stsError(
  status: number,
  code: string,
  message: string,
): Behaviour {
  const type = status < 500 ? "Sender" : "Receiver";
  const escaped = message.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return {
    status,
    body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error>
    <Type>${type}</Type>
    <Code>${code}</Code>
    <Message>${escaped}</Message>
  </Error>
  <RequestId>00000000-0000-4000-8000-000000000000</RequestId>
</ErrorResponse>`,
  };
}
